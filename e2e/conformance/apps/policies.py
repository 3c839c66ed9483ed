"""Retries and time limits."""

import os
import time

import skerry

app = skerry.App("conformance-policies")
counts = "/tmp/attempts"


def _attempt() -> int:
    with open(counts, "a") as file:
        file.write("x")
    return os.path.getsize(counts)


@app.function(retries=2, max_containers=1)
def third_time(_: int = 0) -> int:
    n = _attempt()
    if n % 3:
        raise ValueError(f"attempt {n}")
    return n


@app.function(retries=2, max_containers=1)
def third_try(_: int) -> int:
    path = f"/tmp/{skerry.current_input_id()}"
    with open(path, "a") as file:
        file.write("x")
    if (n := os.path.getsize(path)) < 3:
        raise ValueError(f"attempt {n}")
    return n


@app.function(retries=1, max_containers=1)
def never_works() -> None:
    raise ValueError(f"attempt {_attempt()}")


@app.function(retries=skerry.Retries(max_retries=2, initial_delay=0.2, backoff_coefficient=2.0), max_containers=1)
def backoff() -> list[float]:
    with open("/tmp/times", "a") as file:
        file.write(f"{time.monotonic()}\n")
    with open("/tmp/times") as file:
        times = [float(line) for line in file]
    if len(times) < 3:
        raise ValueError("not yet")
    return times


@app.function(timeout=2)
def too_long() -> None:
    time.sleep(600)


@app.function(timeout=2, retries=1)
def too_long_twice() -> str:
    # A container that timed out is gone: the attempt is told by the shared call, not by its disk.
    time.sleep(600)
    return "never"


@app.function(retries=3, max_containers=1)
def interrupted() -> None:
    _attempt()
    time.sleep(600)


@app.function(retries=skerry.Retries(max_retries=3, initial_delay=0.0), max_containers=1, single_use_containers=True)
def dies(code: int) -> None:
    os._exit(code)


@app.function(single_use_containers=True)
def once() -> str:
    return os.environ["SKERRY_TASK_ID"]


def _times(name: str) -> list[float]:
    """When this and the attempts before have begun."""
    with open(f"/tmp/{name}", "a") as file:
        file.write(f"{time.monotonic()}\n")
    with open(f"/tmp/{name}") as file:
        return [float(line) for line in file]


@app.function(retries=1, max_containers=1)
def constant() -> list[float]:
    times = _times("constant")
    if len(times) < 2:
        raise ValueError("not yet")
    return times


@app.function(retries=skerry.Retries(max_retries=2, initial_delay=1.0, backoff_coefficient=10.0, max_delay=1.0), max_containers=1)
def capped() -> list[float]:
    times = _times("capped")
    if len(times) < 3:
        raise ValueError("not yet")
    return times


@app.function(timeout=2, max_containers=1)
def sleeps(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"]


@app.function(min_containers=1, scaledown_window=2, max_containers=2, buffer_containers=1, region="nowhere-else")
def placed() -> None: ...
