"""Two deployments of one program, each in an environment of its own."""

import skerry

app = skerry.App("example-environments")


@app.function()
def price() -> str:
    """What it answers depends on where it runs."""
    where = skerry.Environment.from_context().name
    return f"{where}: {'for nothing' if where == 'example-staging' else 'five'}"


@app.function()
def checkout() -> str:
    """Finds the functions of its own environment."""
    return skerry.Function.from_name("example-environments", "price").remote()


def main() -> None:
    """Deploy it twice, and call both."""
    skerry.Environment.objects.create("example-staging")
    try:
        for environment in ("main", "example-staging"):
            app.deploy(environment_name=environment)
            print(skerry.Function.from_name("example-environments", "checkout", environment_name=environment).remote())
    finally:
        # All that is in it goes with it.
        skerry.Environment.objects.delete("example-staging")


if __name__ == "__main__":
    main()
