"""Maps over a real session."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.payload_pb import RemoteError, Result, ResultStatus

FAILED = Result(status=ResultStatus.TIMEOUT, error=RemoteError(message="took too long"))


def values(results):
    return [result[0][0] for result in results]


def test_results_are_in_order(echo, server):
    server.order(function="fu-echo", reverse=True)
    assert values(echo.map(range(3000))) == list(range(3000))


def test_unordered_results_are_complete(echo, server):
    server.order(function="fu-echo", reverse=True)
    assert sorted(values(echo.map(range(3000), order_outputs=False))) == list(range(3000))


def test_shortest_iterable_ends_the_map_and_kwargs_are_the_same_for_all(echo):
    assert list(echo.map([1, 2, 3], "ab", kwargs={"k": 1})) == [((1, "a"), {"k": 1}), ((2, "b"), {"k": 1})]


def test_starmap(echo):
    assert list(echo.starmap([(1, 2), (3, 4)])) == [((1, 2), {}), ((3, 4), {})]
    with pytest.raises(exc.InvalidError):
        echo.starmap([1], [2])


def test_for_each(echo, client, server):
    assert echo.for_each(range(10)) is None
    server.order(function="fu-failing", result=FAILED)
    failing = skerry.Function.from_name("demo", "failing", client=client)
    failing.for_each(range(10), ignore_exceptions=True)
    with pytest.raises(exc.FunctionTimeoutError):
        failing.for_each(range(10))


def test_empty_map(echo, server):
    assert list(echo.map([])) == []
    assert server.order()["inputs"] == 0


def test_first_failure_is_raised(client, server):
    server.order(function="fu-failing", result=FAILED)
    with pytest.raises(exc.FunctionTimeoutError):
        list(skerry.Function.from_name("demo", "failing", client=client).map(range(100)))


def test_exceptions_as_results(client, server):
    server.order(function="fu-failing", result=FAILED)
    results = list(skerry.Function.from_name("demo", "failing", client=client).map(range(5), return_exceptions=True))
    assert [type(result) for result in results] == [exc.FunctionTimeoutError] * 5


def test_inputs_are_drawn_lazily(echo, server):
    server.order(function="fu-echo", hold=True)
    drawn = []
    full = threading.Event()

    def inputs():
        for i in range(5000):
            drawn.append(i)
            if len(drawn) == 1001:
                full.set()
            yield i

    results = iter(echo.map(inputs()))
    first = []
    consumer = threading.Thread(target=lambda: first.append(next(results)))
    consumer.start()
    assert full.wait(10)
    # One more than may be outstanding is in the feeder's hand.
    assert not consumer.join(0.2)
    assert len(drawn) == 1001
    assert server.order()["inputs"] == 1000
    server.order(function="fu-echo", hold=False)
    consumer.join(10)
    assert values(first + list(results)) == list(range(5000))
    assert server.order()["most_open"] <= 1000


def test_slow_iterable_does_not_hold_back_what_is_there(echo):
    more = threading.Event()

    def inputs():
        yield 1
        yield 2
        yield 3
        assert more.wait(10)
        yield 4

    results = iter(echo.map(inputs()))
    assert values([next(results), next(results), next(results)]) == [1, 2, 3]
    more.set()
    assert values(results) == [4]


def test_exception_of_the_iterable_reaches_the_consumer(echo):
    def inputs():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(echo.map(inputs()))


def test_argument_that_can_not_be_pickled(echo):
    with pytest.raises(exc.SerializationError, match="arguments of echo"):
        list(echo.map([threading.Lock()]))


def test_breaking_off_stops_the_feeder(echo, server):
    drawn = []

    def inputs():
        for i in range(100_000):
            drawn.append(i)
            yield i

    for result in echo.map(inputs()):
        assert result == ((0,), {})
        break
    gc.collect()
    threading.Event().wait(0.2)
    assert len(drawn) < 5000


def test_large_inputs_are_uploaded(echo, server):
    items = [os.urandom(600_000) for _ in range(12)]
    assert values(echo.map(items)) == items
    assert server.order()["uploads"] == 12


def test_map_aio(echo):
    async def source():
        for i in range(2500):
            yield i

    async def main():
        from_async = [result[0][0] async for result in echo.map.aio(source())]
        from_sync = [result[0] async for result in echo.map.aio(range(1500), [5] * 1500)]
        starred = [result[0] async for result in echo.starmap.aio([(1, 2)])]
        await echo.for_each.aio(source())
        return from_async, from_sync, starred

    from_async, from_sync, starred = asyncio.run(main())
    assert from_async == list(range(2500))
    assert from_sync == [(i, 5) for i in range(1500)]
    assert starred == [(1, 2)]


def test_map_aio_raises(client, server):
    server.order(function="fu-failing", result=FAILED)
    failing = skerry.Function.from_name("demo", "failing", client=client)

    async def bad():
        yield 1
        raise KeyError("mine")

    async def main():
        with pytest.raises(exc.FunctionTimeoutError):
            async for _ in failing.map.aio(range(10)):
                pass
        server.order(function="fu-failing", result=Result(status=ResultStatus.SUCCESS))
        with pytest.raises(KeyError):
            async for _ in failing.map.aio(bad()):
                pass

    asyncio.run(main())


def test_blocking_map_in_a_loop_is_refused(echo, monkeypatch):
    monkeypatch.setenv("SKERRY_ASYNC_WARNINGS", "0")

    async def main():
        with pytest.raises(exc.InvalidError, match=r"map\.aio"):
            list(echo.map([1]))
        with pytest.raises(exc.InvalidError, match=r"for_each\.aio"):
            echo.for_each([1])

    asyncio.run(main())


def drop(_):
    gc.collect()


def test_results_that_nobody_wants_warn(echo):
    with pytest.warns(RuntimeWarning, match="never iterated"):
        drop(echo.map([1]))
