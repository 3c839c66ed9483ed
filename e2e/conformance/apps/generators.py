"""Generators."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import skerry

app = skerry.App("conformance-generators")


@app.function()
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def async_numbers(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@app.function()
def fails_after(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError("after the items")


@app.function()
def sized(sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield bytes(size)


@app.function()
def returns_generator(n: int) -> Any:
    return (i for i in range(n))


@app.function(is_generator=True)
def declared(n: int) -> Any:
    return (i for i in range(n))


@app.function(is_generator=True)
def declared_wrongly() -> Any:
    return 5


@app.function()
def slowly() -> Iterator[str]:
    """Says where it runs, then waits until somebody opens the gate."""
    yield os.environ["SKERRY_TASK_ID"]
    while not os.path.exists("/tmp/gate"):
        time.sleep(0.05)
    yield "done"


@app.function()
def sum_of(n: int) -> int:
    return sum(numbers.remote_gen(n))


@app.function()
def cleaned() -> Iterator[int]:
    try:
        while True:
            yield 1
            time.sleep(0.05)
    finally:
        print("the generator was closed", flush=True)


@app.function()
async def cleaned_async() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
            await asyncio.sleep(0.05)
    finally:
        print("the asynchronous generator was closed", flush=True)


@app.function()
def odd_values() -> Iterator[Any]:
    yield from (None, 0, "", [], None)
