"""An image that can't be built."""

import skerry

app = skerry.App("broken-image", image=skerry.Image.debian_slim().run_commands("echo about to fail; exit 7"))


@app.function()
def never() -> None:
    pass


@app.local_entrypoint()
def main() -> None:
    never.remote()
