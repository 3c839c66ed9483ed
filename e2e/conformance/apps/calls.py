"""Calls of one input."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import skerry

app = skerry.App("conformance-calls")


class Proxy:
    """Answers every attribute, as arguments may."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


@app.function()
def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@app.function()
def proxied(proxy: Proxy) -> Any:
    return proxy


@app.function()
def fail(kind: str) -> None:
    kinds: dict[str, BaseException] = {
        "value": ValueError("a value", 7),
        "exit": SystemExit(4),
        "base": _Base("below everything"),
    }
    raise kinds[kind]


class _Base(BaseException):
    pass


class Unloadable:
    """Can be made here, and not be read back there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


def _explode() -> None:
    raise RuntimeError("can't be read back")


@app.function()
def take(_value: Any) -> str:
    return "taken"


@app.function()
def no_such_module() -> Any:
    """Returns something of a module that is only there in the container."""
    import sys
    import types

    module = types.ModuleType("only_there")
    exec("class Thing: pass", module.__dict__)
    module.Thing.__module__ = "only_there"
    sys.modules["only_there"] = module
    return module.Thing()


@app.function()
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def ids() -> tuple[str | None, str | None, bool, str]:
    return skerry.current_input_id(), skerry.current_function_call_id(), skerry.is_local(), os.environ["SKERRY_TASK_ID"]


@app.function()
def large(size: int) -> bytes:
    return bytes(size)


@app.function()
def none() -> None:
    return None


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
def call_echo(x: int) -> Any:
    """Calls a function of the same app from inside a container."""
    return echo.remote(x, inside=True)


@app.function()
def fan_out(n: int) -> list[int]:
    return list(double.map(range(n)))


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
def spawn_double(x: int) -> str:
    return double.spawn(x).object_id


@app.function()
def tokens() -> list[str]:
    """Whatever looks like a credential in the container."""
    return sorted(name for name in os.environ if "TOKEN" in name or "SECRET" in name)


@app.function(restrict_modal_access=True)
def restricted(x: int) -> Any:
    return double.remote(x)


unbound = skerry.App("conformance-never-run")


@unbound.function()
def never() -> None:
    pass


def bare() -> int:
    return 1


@app.function()
async def slow_double(x: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * x
