"""An image: Debian and Python packages, a command, variables and a local file. It is built once, whoever uses it.

Run it with: skerry run image.py
"""

from pathlib import Path

import skerry

HERE = Path(__file__).parent

image = (
    skerry.Image.debian_slim()
    .apt_install("cowsay")
    .pip_install("humanize==4.9.0")
    .run_commands("echo built by a command > /opt/note.txt")
    .env({"GREETING": "moo"})
    .workdir("/opt")
    .add_local_file(HERE / "words.txt", "/data/words.txt")
)

app = skerry.App("image", image=image)

# Only the image has this package; here the import may fail.
with image.imports():
    import humanize


@app.function()
def say(number: int) -> str:
    """Use everything that the image has."""
    import os
    import subprocess

    words = Path("/data/words.txt").read_text().strip()
    text = f"{os.environ['GREETING']} {humanize.intcomma(number)} {words}"
    print(Path("note.txt").read_text().strip())
    return subprocess.run(["/usr/games/cowsay", text], capture_output=True, text=True, check=True).stdout


@app.local_entrypoint()
def main() -> None:
    """Let the cow speak."""
    print(say.remote(1234567))
