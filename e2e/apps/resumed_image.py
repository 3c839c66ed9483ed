"""An image whose second step is slow, and whose first tells one build from another."""

import os
from pathlib import Path

import skerry

app = skerry.App("resumed-image")
tag = os.environ.get("IMAGE_TAG", "none")
slow = skerry.Image.debian_slim().run_commands(
    f"echo {tag}; cat /proc/sys/kernel/random/uuid | tee /first | sed 's/^/fir''st=/'",
    f"echo 'be''gun' {tag}; sleep {os.environ.get('SECONDS_TO_SLEEP', '5')}",
)


@app.function(image=slow)
def first() -> str:
    return Path("/first").read_text().strip()


@app.local_entrypoint()
def main() -> None:
    print(f"has {first.remote()}", flush=True)
