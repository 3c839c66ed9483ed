"""An image whose steps get a secret, each in its way."""

import os

import skerry

app = skerry.App("secret-image")
SECRET = skerry.Secret.from_dict({"BUILD_TOKEN": os.environ.get("SECRET_VALUE", "none")})


def prepare() -> None:
    """Is run in the build."""
    assert os.environ["BUILD_TOKEN"]


given = (
    skerry.Image.debian_slim()
    .env({"PUBLIC_VALUE": os.environ.get("PUBLIC_VALUE", "none")})
    .run_commands('test -n "$BUILD_TOKEN"', secrets=[SECRET])
    .dockerfile_commands('RUN test -n "$BUILD_TOKEN"', secrets=[SECRET])
    .run_function(prepare, secrets=[SECRET])
)


@app.function(image=given)
def look() -> str:
    return f"{os.environ['PUBLIC_VALUE']} {os.environ.get('BUILD_TOKEN', 'no token')}"


@app.local_entrypoint()
def main() -> None:
    print(f"said {look.remote()}", flush=True)
