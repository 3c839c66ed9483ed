"""Concurrency: one container works on many inputs at a time, in tasks or threads.

Run it with: skerry run concurrency.py
"""

import asyncio
import os
import time

import skerry

app = skerry.App("concurrency")


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=100)
async def wait(seconds: float) -> str:
    """Wait as a task of one event loop; says which container it was in."""
    await asyncio.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=10)
def wait_in_thread(seconds: float) -> str:
    """Wait in a thread."""
    time.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"]


@app.local_entrypoint()
def main() -> None:
    """Run 100 sleepers of half a second in one container: 50 seconds of waiting."""
    wait.remote(0)
    began = time.monotonic()
    containers = set(wait.map([0.5] * 100))
    print(f"100 tasks in {len(containers)} container, one after the other: {time.monotonic() - began > 50}")
    print("threads:", len(set(wait_in_thread.map([0.2] * 10))), "container")
