"""An image whose steps have a volume, whole, a folder of it, and read-only; and what a container of the image finds of it."""

import os
import sys
from pathlib import Path

import skerry

TAG = os.environ.get("TAG", "none")
models = skerry.Volume.from_name(f"models-{TAG}", create_if_missing=True)
app = skerry.App(f"volume-image-{TAG}")


def download(tag: str) -> None:
    Path("/models/deep").mkdir()
    Path("/models/deep/weights.bin").write_text(f"weights of {tag}")
    # The variable that the volume was asked for with is nobody's here.
    assert "SKERRY_BUILD_VOLUMES" not in os.environ, sorted(os.environ)
    print(f"downloaded {tag}")


def look(tag: str) -> None:
    assert Path("/again/deep/weights.bin").read_text() == f"weights of {tag}"
    assert Path("/again/deep/more.txt").read_text() == "more\n"
    try:
        Path("/again/new.txt").write_text("refused")
    except OSError as err:
        print(f"refused: {err.strerror}")
    else:
        raise AssertionError("a read-only volume took a file")


image = (
    skerry.Image.debian_slim()
    .run_function(download, args=(TAG,), volumes={"/models": models})
    .run_commands(
        "echo more > /part/more.txt",
        "cat /part/weights.bin /part/more.txt",
        volumes={"/part": models.with_mount_options(sub_path="/deep")},
    )
    .run_function(look, args=(TAG,), volumes={"/again": models.with_mount_options(read_only=True)})
)


@app.function(image=image)
def inside() -> list[str]:
    """What is left at the places of the volumes, and anywhere else of what they hold."""
    found = [place for place in ("/models", "/part", "/again") if os.path.lexists(place)]
    return found + [str(path) for path in Path("/").glob("*/weights.bin")]


@app.local_entrypoint()
def main() -> None:
    print("left in the image", inside.remote())
    sys.stdout.flush()
