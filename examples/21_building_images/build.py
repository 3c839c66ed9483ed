"""What can be done while an image is built: run a function, use a secret in one step, run Dockerfile commands; then name the image.

Run it with: skerry run build.py
"""

from pathlib import Path

import skerry

SIZE = 100


def prepare(path: str) -> None:
    """Work once, when the image is built: a change of SIZE, of the argument or of this function has it run again."""
    Path(path).write_text("\n".join(str(number**2) for number in range(SIZE)))
    print(f"prepared {SIZE} squares")


image = (
    skerry.Image.debian_slim()
    .run_function(prepare, args=("/squares.txt",))
    .run_commands('test -n "$TOKEN"', secrets=[skerry.Secret.from_dict({"TOKEN": "for this step alone"})])
    .dockerfile_commands("ARG WHO=nobody", 'RUN echo "for $WHO" > /note.txt', "WORKDIR /srv", build_args={"WHO": "you"})
)

app = skerry.App("building-images", image=image)


@app.function()
def look(number: int) -> str:
    """Read what the build has left."""
    import os

    squares = Path("/squares.txt").read_text().split()
    return f"{squares[number]} {Path('/note.txt').read_text().strip()} {os.environ.get('TOKEN', 'no token')}"


@app.local_entrypoint()
def main() -> None:
    """Use the image, name it, and find it again."""
    print(look.remote(12))
    image.publish("squares")
    found = skerry.Image.from_name("squares").hydrate()
    print("the same image:", found.object_id == image.object_id)
