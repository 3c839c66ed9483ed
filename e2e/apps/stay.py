"""A function that runs until it is stopped."""

import os
import threading

import skerry

app = skerry.App("stay")


@app.function()
def stay() -> None:
    print(f"started in {os.environ['SKERRY_TASK_ID']}", flush=True)
    threading.Event().wait()


@app.local_entrypoint()
def main() -> None:
    stay.remote()
