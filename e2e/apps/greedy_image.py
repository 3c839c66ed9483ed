"""An image with a step that takes all it can get of something."""

import os

import skerry

app = skerry.App("greedy-image")
STEPS = {
    "processes": "f() { f | f & }; f; sleep 1000",
    "disk": "head -c 100G /dev/zero > /large; sleep 1000",
    "time": "while true; do :; done",
    "memory": "python -c 'x = b\"x\" * (2 << 30)'",
}
greedy = skerry.Image.debian_slim().run_commands(STEPS[os.environ.get("GREEDY_FOR", "time")])


@app.function(image=greedy)
def never() -> None:
    pass


@app.local_entrypoint()
def main() -> None:
    never.remote()
