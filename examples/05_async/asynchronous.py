"""Async: every call has an ``.aio`` form for event loops, and functions can be coroutines themselves.

Run it with: skerry run asynchronous.py
"""

import asyncio
from collections.abc import AsyncIterator

import skerry

app = skerry.App("async")


@app.function()
async def double(x: int) -> int:
    """A coroutine that runs in a container."""
    await asyncio.sleep(0.01)
    return 2 * x


async def numbers() -> AsyncIterator[int]:
    """An asynchronous source of inputs."""
    for number in range(20):
        await asyncio.sleep(0)
        yield number


@app.local_entrypoint()
async def main() -> None:
    """Call, gather and map without ever blocking the loop."""
    print("remote:", await double.remote.aio(21))
    print("together:", await asyncio.gather(*(double.remote.aio(x) for x in range(5))))
    print("map:", [result async for result in double.map.aio(numbers())])

    call = await double.spawn.aio(50)
    print("spawned:", await call.get.aio())
    print("local:", await double.local(1))
