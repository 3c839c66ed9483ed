"""An image whose step writes to a volume and fails."""

import os

import skerry

TAG = os.environ.get("TAG", "none")
data = skerry.Volume.from_name(f"failing-{TAG}", create_if_missing=True)
app = skerry.App(f"failing-volume-image-{TAG}")
image = skerry.Image.debian_slim().run_commands("echo kept > /data/kept.txt; exit 3", volumes={"/data": data})


@app.function(image=image)
def never() -> None:
    """Is never reached."""


@app.local_entrypoint()
def main() -> None:
    never.remote()
