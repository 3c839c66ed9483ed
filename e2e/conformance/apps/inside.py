"""Calls that code in containers makes."""

import builtins
from collections.abc import AsyncIterator, Iterator
from typing import Any

import skerry

app = skerry.App("conformance-inside")
other = skerry.App("conformance-inside-other")
part = skerry.App("conformance-inside-part")


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
def size(data: bytes) -> int:
    return len(data)


@app.function()
def fail(text: str) -> None:
    raise ValueError(text)


@app.function()
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
def wait(_: int) -> None:
    import time

    time.sleep(600)


@app.function()
async def everything_in_a_loop(n: int) -> dict[str, Any]:
    """The asynchronous forms."""

    async def inputs() -> AsyncIterator[int]:
        for x in range(n):
            yield x

    call = await double.spawn.aio(n)
    many = await double.experimental_spawn_map.aio(inputs())
    await double.spawn_map.aio(inputs())
    return {
        "remote": await double.remote.aio(n),
        "map": [x async for x in double.map.aio(inputs())],
        "items": [x async for x in numbers.remote_gen.aio(n)],
        "get": await call.get.aio(),
        "many": [x async for x in many.iter.aio()],
        "gather": list(await skerry.FunctionCall.gather.aio(call, many)),
    }


@app.function()
def upload(n: int) -> int:
    """Arguments that are too large to go with a message."""
    return size.remote(bytes(n))


@app.function()
def outcome_of(call: "skerry.FunctionCall[int]") -> int:
    """A handle that came as an argument."""
    return call.get()


@app.function()
def call_it(function: "skerry.Function[[int], int]", x: int) -> int:
    """A function that came as an argument."""
    return function.remote(x)


@app.function()
def catch(text: str) -> str:
    """What a called function raises is raised here."""
    try:
        fail.remote(text)
    except ValueError as err:
        return str(err)
    return "nothing was raised"


@app.function()
def cancel_one() -> str:
    call = wait.spawn(1)
    try:
        call.get(timeout=0)
    except builtins.TimeoutError:
        call.cancel()
    try:
        call.get(timeout=60)
    except skerry.exception.RemoteError:
        return call.object_id
    return "not cancelled"


@app.function()
def leave_early() -> list[int]:
    """Leaves a generator and a map before their ends."""
    items = iter(numbers.remote_gen(1_000_000))
    results = iter(double.map(iter(range(1_000_000))))
    return [next(items), next(results), next(items), next(results)]


@app.function()
def graph_of_its_own() -> list[str]:
    call_id = skerry.current_function_call_id()
    assert call_id is not None
    double.remote(1)
    (root,) = skerry.FunctionCall.from_id(call_id).get_call_graph()
    return [root.function_name, root.status.name, *(f"{c.function_name} {c.status.name}" for c in root.children)]


@app.function(name="same")
def same_here() -> str:
    return "here"


@other.function(name="same")
def same_elsewhere() -> str:
    return "elsewhere"


@part.function()
def of_a_part() -> str:
    return same_here.remote()


app.include(part)


@app.function()
def ask_both() -> list[str | None]:
    """Two apps of one module have a function of this name."""
    assert double.is_hydrated
    assert double.object_id.startswith("fu-")
    assert not same_elsewhere.is_hydrated
    answers: list[str | None] = [same_here.remote(), of_a_part.remote(), app.app_id, other.app_id]
    try:
        return [*answers, same_elsewhere.remote()]
    except skerry.exception.ExecutionError as err:
        return [*answers, str(err)]
