"""What containers see of volumes."""

import os
from pathlib import Path

import skerry

app = skerry.App("conformance-volumes")
shared = skerry.Volume.from_name("conformance-shared", create_if_missing=True)
FOLDER = Path("/shared")


@app.function(volumes={"/shared": shared})
def write(name: str, text: str, commit: bool) -> None:
    """A file of the volume, committed here or at the end of the container."""
    (FOLDER / name).write_text(text)
    if commit:
        shared.commit()


@app.function(volumes={"/shared": shared}, single_use_containers=True)
def write_and_fail(name: str) -> None:
    """It is committed at the end all the same."""
    (FOLDER / name).write_text("written")
    raise ValueError("on purpose")


@app.cls(volumes={"/shared": shared})
class Reader:
    """One container that stays."""

    @skerry.method()
    def read(self, name: str, reload: bool) -> str | None:
        """The file, as far as the container sees it."""
        if reload:
            shared.reload()
        path = FOLDER / name
        return path.read_text() if path.exists() else None

    @skerry.method()
    def reload_with_open_file(self, name: str) -> str:
        """What reload says while a file is open."""
        with open(FOLDER / name):
            try:
                shared.reload()
            except RuntimeError as err:
                return str(err)
        return ""


@app.function(volumes={"/shared": shared.with_mount_options(read_only=True, sub_path="/below/it")})
def try_to_write() -> tuple[list[str], str]:
    """What a read-only folder of the volume has, and what writing raises."""
    try:
        (FOLDER / "x").write_text("x")
    except OSError as err:
        return os.listdir(FOLDER), type(err).__name__
    return os.listdir(FOLDER), ""


@app.function()
def listed(folder: str) -> list[str]:
    """What is at a path, which is a volume by options alone."""
    return sorted(os.listdir(folder))
