"""Inputs that share a container."""

import asyncio
import os
import threading
import time

import skerry

app = skerry.App("conformance-together")

asleep: set[object] = set()


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=100)
async def sleep_async(seconds: float) -> tuple[str, int]:
    """The container, and how many inputs slept in it when this one awoke."""
    asleep.add(asyncio.current_task())
    await asyncio.sleep(seconds)
    together = len(asleep)
    asleep.discard(asyncio.current_task())
    return os.environ["SKERRY_TASK_ID"], together


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=10)
def sleep_sync(seconds: float) -> tuple[str, bool]:
    time.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"], threading.current_thread() is threading.main_thread()


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=4)
async def own_context(seconds: float) -> tuple[str | None, str | None]:
    before = skerry.current_input_id()
    await asyncio.sleep(seconds)
    return before, skerry.current_input_id()


@app.function(max_containers=1)
@skerry.batched(max_batch_size=4, wait_ms=1000)
def sizes(xs: list[int]) -> list[tuple[int, int]]:
    return [(x, len(xs)) for x in xs]


@app.function()
@skerry.batched(max_batch_size=3, wait_ms=200)
async def add(a: list[int], b: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return [x + y for x, y in zip(a, b, strict=True)]


@app.function(max_containers=1)
@skerry.batched(max_batch_size=2, wait_ms=500)
def bad(kinds: list[str]) -> object:
    if kinds[0] == "raise":
        raise ValueError("of the whole batch")
    return {"short": [1], "text": "ab"}.get(kinds[0], [None] * (len(kinds) + 1))


@app.cls(max_containers=1)
class Batcher:
    factor: int = skerry.parameter(default=3)

    @skerry.batched(max_batch_size=8, wait_ms=100)
    def times(self, xs: list[int]) -> list[int]:
        return [x * self.factor for x in xs]


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=2)
@skerry.batched(max_batch_size=2, wait_ms=100)
def both(xs: list[float]) -> list[str]:
    time.sleep(max(xs))
    return [os.environ["SKERRY_TASK_ID"]] * len(xs)


@app.cls(max_containers=1)
@skerry.concurrent(max_inputs=5)
class Together:
    @skerry.enter()
    def begin(self) -> None:
        self.barrier = threading.Barrier(5)

    @skerry.method()
    def meet(self) -> int:
        """Returns only when five inputs are here at a time."""
        self.barrier.wait(60)
        return 1
