"""An image whose content tells one build from another."""

import os
from pathlib import Path

import skerry

app = skerry.App("images")
tag = os.environ.get("IMAGE_TAG", "none")
unique = skerry.Image.debian_slim().run_commands(f"echo {tag}", "cat /proc/sys/kernel/random/uuid > /stamp")


@app.function(image=unique)
def stamp() -> str:
    return Path("/stamp").read_text().strip()


@app.local_entrypoint()
def main() -> None:
    print(f"stamp {stamp.remote()}", flush=True)


@app.local_entrypoint()
def publish(name: str) -> None:
    unique.build(app).publish(name)
    print(unique.object_id, flush=True)
