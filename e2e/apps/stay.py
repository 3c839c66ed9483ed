"""A function that runs until it is stopped."""

import os
import threading

import skerry

app = skerry.App("stay")


# With a limit of memory, no sandbox that was booted ahead will do, so that the processes of its own have the container's name.
@app.function(memory=(128, 1024))
def stay() -> None:
    print(f"started in {os.environ['SKERRY_TASK_ID']}", flush=True)
    threading.Event().wait()


@app.local_entrypoint()
def main() -> None:
    stay.remote()
