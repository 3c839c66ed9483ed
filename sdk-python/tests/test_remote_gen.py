"""Generators over a real session."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.payload_pb import RemoteError, Result, ResultStatus


@pytest.fixture
def numbers(client, server):
    """A generator of as many numbers as it is told to yield."""

    def make(count: int, result: Result | None = None) -> skerry.Function[..., object]:
        server.order(function="fu-numbers", items=count, **({} if result is None else {"result": result}))
        return skerry.Function.from_name("demo", "numbers", client=client)

    return make


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_items_are_in_order(numbers, count):
    assert list(numbers(count).remote_gen()) == list(range(count))


def test_items_in_a_loop_of_events(numbers):
    async def main():
        return [item async for item in numbers(5000).remote_gen.aio()]

    assert asyncio.run(main()) == list(range(5000))


def test_items_come_before_the_exception(numbers):
    function = numbers(300, Result(status=ResultStatus.TIMEOUT, error=RemoteError(message="took too long")))
    seen = []
    with pytest.raises(exc.FunctionTimeoutError, match="took too long"):
        seen.extend(function.remote_gen())
    assert seen == list(range(300))


def test_server_sends_no_more_than_is_read(numbers, server):
    items = iter(numbers(1_000_000).remote_gen())
    assert [next(items) for _ in range(600)] == list(range(600))
    # 1,000 items ahead of what was acknowledged last.
    assert server.order()["items_sent"] <= 1600
    items.close()


def test_items_go_on_over_broken_sessions(numbers, server):
    seen = []
    for item in numbers(20_000).remote_gen():
        seen.append(item)
        if len(seen) % 5000 == 300:
            server.order(break_now=True)
    assert seen == list(range(20_000))
    assert server.order()["sessions"] > 1


def test_leaving_the_loop_cancels_the_call(numbers, server):
    items = numbers(1_000_000).remote_gen()
    assert next(items) == 0
    items.close()
    assert list(items) == []
    _until(lambda: server.order()["cancelled"])


def test_leaving_a_loop_of_events_cancels_the_call(numbers, server):
    async def main():
        items = numbers(1_000_000).remote_gen.aio()
        assert await items.__anext__() == 0
        await items.aclose()

    asyncio.run(main())
    _until(lambda: server.order()["cancelled"])


def test_breaking_out_of_a_loop_of_events_cancels_the_call_at_once(numbers, server):
    async def main():
        async for _ in numbers(1_000_000).remote_gen.aio():
            break
        await asyncio.to_thread(_until, lambda: server.order()["cancelled"])

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_call_that_has_ended_is_not_cancelled(numbers, server):
    assert len(list(numbers(10).remote_gen())) == 10
    assert not server.order()["cancelled"]


def test_items_that_nobody_wants_warn(numbers):
    function = numbers(3)
    with pytest.warns(RuntimeWarning, match="never iterated"):
        _drop(function.remote_gen())


def test_blocking_in_a_loop_of_events_warns(numbers):
    async def main():
        with pytest.warns(exc.AsyncUsageWarning, match=r"remote_gen\.aio"):
            assert list(numbers(2).remote_gen()) == [0, 1]

    asyncio.run(main())


def _drop(_: object) -> None:
    gc.collect()


def _until(happened) -> None:
    """Wait for what a background thread does."""
    for _ in range(500):
        if happened():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen within 5 s")
