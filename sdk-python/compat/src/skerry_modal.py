"""The command ``modal``: ``skerry``, in which ``import modal`` gives Skerry."""


def main() -> None:
    """Run a command and end the process."""
    import modal  # noqa: F401 - it refuses to be there beside Modal's own package, and takes its place

    from skerry.cli import main as skerry

    skerry()
