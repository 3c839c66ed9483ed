"""Inputs that are cancelled."""

import asyncio
import os
import threading
import time

import skerry

app = skerry.App("conformance-cancelling")


def _wait(kind: str) -> None:
    print(f"{kind} waits in {os.environ['SKERRY_TASK_ID']}", flush=True)


@app.function(max_containers=1)
def blocked(seconds: float) -> str:
    _wait("sync")
    try:
        time.sleep(seconds)
    except BaseException as err:
        print(f"sync saw {type(err).__name__}", flush=True)
        raise
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
async def awaiting(seconds: float) -> str:
    _wait("async")
    try:
        await asyncio.sleep(seconds)
    except BaseException as err:
        print(f"async saw {type(err).__name__}", flush=True)
        raise
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=4)
async def together(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=4)
def threads(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        threading.Event().wait(0.01)
    return os.environ["SKERRY_TASK_ID"]


@app.function(max_containers=1)
def stubborn(seconds: float) -> str:
    """Swallows whatever is raised in it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.05)
        except BaseException as err:
            print(f"swallowed {type(err).__name__}", flush=True)
    return "done"


@app.function(max_containers=1)
def interrupted(seconds: float) -> str:
    _wait("interrupted")
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        print("saw KeyboardInterrupt", flush=True)
        raise
    return os.environ["SKERRY_TASK_ID"]
