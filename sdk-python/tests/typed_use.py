"""What type checkers know of a user's program. Checked by pyright, never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from typing_extensions import assert_type

import skerry
from skerry.call_graph import InputInfo

app = skerry.App("typed", image=skerry.Image.debian_slim().pip_install("numpy"))


@app.function(cpu=1.5, memory=(256, 512), secrets=[skerry.Secret.from_dict({"KEY": "value"})])
def repeat(text: str, times: int = 2) -> str:
    return text * times


@app.local_entrypoint()
def main(text: str = "x") -> None:
    assert_type(repeat.remote(text, times=3), str)
    assert_type(repeat.local(text), str)
    call = repeat.spawn("x")
    assert_type(call, skerry.FunctionCall[str])
    assert_type(call.get(timeout=1.0), str)
    assert_type(list(repeat.map(["a", "b"])), list[str])
    assert_type(list(repeat.starmap([("a", 1)], order_outputs=False)), list[str])
    assert_type(iter(repeat.map("ab")), Iterator[str])
    assert_type(list(repeat.map("ab", return_exceptions=True)), list[str | BaseException])
    repeat.for_each(["a"], ignore_exceptions=True)
    assert_type(list(call.iter(end=1)), list[str])
    assert_type(next(call.logs.tail(3)).message, str)
    assert_type(repeat.experimental_spawn_map(["a"]), skerry.FunctionCall[str])
    assert_type(call.get_call_graph()[0].children, list[InputInfo])
    repeat.remote(1)  # pyright: ignore[reportArgumentType]
    repeat.remote()  # pyright: ignore[reportCallIssue]
    repeat.spawn(nothing=1)  # pyright: ignore[reportCallIssue]


async def asynchronous() -> None:
    assert_type(await repeat.remote.aio("x"), str)
    call = await repeat.spawn.aio("x", 3)
    assert_type(call, skerry.FunctionCall[str])
    assert_type(await call.get.aio(), str)
    assert_type([result async for result in repeat.map.aio(["a"])], list[str])
    assert_type(aiter(repeat.map.aio(["a"])), AsyncIterator[str])
    await repeat.for_each.aio(["a"])
    await repeat.remote.aio(1)  # pyright: ignore[reportArgumentType]
    async with app.run() as running:
        assert_type(running, skerry.App)
    await app.deploy.aio(name="other")
    assert_type(await skerry.App.lookup.aio("typed"), skerry.App)


def lookups() -> None:
    assert_type(skerry.App.lookup("typed", create_if_missing=True), skerry.App)
    assert_type(skerry.Function.from_name("typed", "repeat").remote(1), Any)
    assert_type(skerry.Client.from_env(), skerry.Client)
    with skerry.enable_output(), app.run(detach=True):
        main(text="y")
        main(1)  # pyright: ignore[reportArgumentType]


@app.function()
async def double(x: int) -> int:
    return 2 * x


@app.function()
@skerry.concurrent(max_inputs=10)
async def shared(x: int) -> str:
    return str(x)


@app.function()
@skerry.batched(max_batch_size=10, wait_ms=100)
def batch(xs: list[int]) -> list[str]:
    return [str(x) for x in xs]


@app.cls(max_containers=1)
class Model:
    size: int = skerry.parameter()
    name: str = skerry.parameter(default="model")

    @skerry.enter()
    def begin(self) -> None:
        self.text = self.name * self.size

    @skerry.method()
    def run(self, x: int) -> str:
        return self.text[x]

    @skerry.method()
    async def wait(self, x: int) -> str:
        return self.text[x]


async def of_coroutines_and_classes() -> None:
    assert_type(double.remote(1), int)
    assert_type(await double.local(1), int)
    assert_type(list(shared.map([1])), list[str])
    batch.remote(1)
    model = Model(size=3)
    assert_type(model.run.remote(1), str)
    assert_type(await model.wait.remote.aio(1), str)
    Model()  # pyright: ignore[reportCallIssue]
    Model(size="3")  # pyright: ignore[reportArgumentType]
