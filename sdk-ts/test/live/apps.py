"""What the live tests call: functions and classes of a deployed app."""

import asyncio
import datetime
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import skerry

app = skerry.App("ts-calls")


@app.function(cpu=0.02)
def square(x: int) -> int:
    return x * x


@app.function(cpu=0.02)
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@app.function(cpu=0.02)
def kinds(values: list[Any]) -> list[str]:
    return [f"{type(value).__name__} {value!r}" for value in values]


@app.function(cpu=0.02)
def moments() -> dict[str, Any]:
    utc = datetime.timezone.utc
    return {
        "moment": datetime.datetime(2026, 11, 26, 4, 5, 6, 789000, tzinfo=utc),
        "day": datetime.date(2026, 11, 26),
        "large": 2**80,
        "set": {1},
        "by number": {1: "one", 2: "two"},
    }


@app.function(cpu=0.02)
def unsendable() -> object:
    return object()


@app.function(cpu=0.02)
def fail(text: str) -> None:
    try:
        {}[text]
    except KeyError as err:
        raise ValueError(f"no {text}") from err


@app.function(cpu=0.02)
def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@app.function(cpu=0.02)
def count(n: int) -> Iterator[dict[str, int]]:
    for i in range(n):
        yield {"i": i}


@app.function(cpu=0.02)
async def count_async(n: int) -> AsyncGenerator[int]:
    for i in range(n):
        yield i
    raise RuntimeError("enough")


@app.function(cpu=0.02)
@skerry.concurrent(max_inputs=10)
async def together(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@app.function(cpu=0.02)
@skerry.batched(max_batch_size=4, wait_ms=50)
def batch(values: list[int]) -> list[int]:
    return [value * len(values) // len(values) for value in values]


@app.function(cpu=0.02)
def environment(name: str) -> str | None:
    import os

    return os.environ.get(name)


@app.cls(cpu=0.02)
class Greeter:
    greeting: str = skerry.parameter(default="hello")
    times: int = skerry.parameter(default=1)

    @skerry.method()
    def greet(self, name: str) -> str:
        return " ".join([f"{self.greeting} {name}"] * self.times)

    @skerry.method()
    def letters(self, name: str) -> Iterator[str]:
        yield from f"{self.greeting} {name}"


@app.cls(cpu=0.02)
class Constructed:
    def __init__(self, start: int = 0, names: list[str] | None = None) -> None:
        self.start = start
        self.names = names or []

    @skerry.method()
    def describe(self) -> dict[str, Any]:
        return {"start": self.start, "names": self.names}


shared = skerry.Image.debian_slim(python_version="3.11").run_commands("echo shared > /shared")


@app.function(image=shared, cpu=0.02)
def read_shared() -> None:
    pass


@app.function(cpu=0.02)
def shared_image() -> str:
    return skerry.Function.from_name("ts-calls", "read_shared").hydrate()._definition().image_id
