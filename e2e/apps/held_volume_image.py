"""An image whose step has a volume and goes on until somebody ends it; once the volume has "go", it ends at once."""

import os

import skerry

TAG = os.environ.get("TAG", "none")
data = skerry.Volume.from_name(f"held-{TAG}", create_if_missing=True)
app = skerry.App(f"held-volume-image-{TAG}")
image = skerry.Image.debian_slim().run_commands(
    f"if test -e /data/go; then echo went {TAG}; exit 0; fi; echo half > /data/half.txt; echo began {TAG}; sleep 3000",
    volumes={"/data": data},
)


@app.function(image=image)
def ready() -> bool:
    return os.path.lexists("/data")


@app.local_entrypoint()
def main() -> None:
    print("volume in the image:", ready.remote(), flush=True)
