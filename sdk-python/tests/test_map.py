"""Maps over a real session."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import os
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._client.mapping import MapCall
from skerry._gen.skerry.v1.call_pb import Input, Output
from skerry._gen.skerry.v1.payload_pb import RemoteError, Result, ResultStatus
from skerry._run import display

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


def test_a_million_inputs_are_not_drawn_ahead_of_a_slow_consumer(echo, server):
    drawn = 0

    def inputs():
        nonlocal drawn
        while drawn < 1_000_000:
            drawn += 1
            yield drawn

    results = iter(echo.map(inputs()))
    for i in range(1, 3001):
        assert next(results) == ((i,), {})
        # Some more may be drawn between the arrival of a result that was waited for and the moment its reader is awake.
        assert drawn <= i + 2000
    assert server.order()["inputs"] <= 5000
    results.close()


def test_large_inputs_are_held_back_by_their_bytes(echo, server):
    server.order(function="fu-echo", hold=True)
    drawn = 0

    def inputs():
        nonlocal drawn
        while drawn < 1000:
            drawn += 1
            yield bytes(500_000)

    results = iter(echo.map(inputs()))
    consumer = threading.Thread(target=lambda: sum(1 for _ in results))
    consumer.start()
    bound = (64 << 20) // 500_000 + 2
    while server.order()["inputs"] < bound - 3:
        consumer.join(0.01)
    consumer.join(0.2)
    assert drawn <= bound
    server.order(function="fu-echo", hold=False)
    consumer.join(30)
    assert drawn == 1000


def test_one_slow_input_does_not_hold_up_those_behind_it(echo, server):
    server.order(function="fu-echo", hold_index=0)
    results = iter(echo.map(range(20_000)))
    got = []
    consumer = threading.Thread(target=lambda: got.extend(results))
    consumer.start()
    while server.order()["inputs"] < 20_000:
        assert consumer.is_alive()
        consumer.join(0.01)
    assert got == []
    server.order(function="fu-echo", hold=False)
    consumer.join(10)
    assert values(got) == list(range(20_000))


def test_results_that_arrived_before_a_failure_come_before_it(client):
    call = MapCall(client, "fu-echo", "echo", ordered=False, return_exceptions=False)
    call.unfinished.update({i: Input(index=i) for i in range(3)})
    good = Result(status=ResultStatus.SUCCESS)
    call.deliver([Output(index=2, result=good), Output(index=1, result=FAILED), Output(index=0, result=good)])
    first = call.take()
    assert isinstance(first, list)
    assert [output.index for output, _ in first] == [2]
    with pytest.raises(exc.FunctionTimeoutError):
        call.take()


def test_inputs_are_drawn_in_the_callers_context(echo):
    variable = contextvars.ContextVar("variable")
    variable.set("the caller's")

    def inputs():
        yield variable.get()

    assert values(echo.map(inputs())) == ["the caller's"]


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


def test_blocking_map_in_a_loop_is_refused(echo, recwarn):
    async def main():
        with pytest.raises(exc.InvalidError, match=r"map\.aio"):
            list(echo.map([1]))
        with pytest.raises(exc.InvalidError, match=r"for_each\.aio"):
            echo.for_each([1])
        with pytest.raises(exc.InvalidError, match=r"spawn_map\.aio"):
            echo.spawn_map([1])

    asyncio.run(main())
    assert not recwarn.list  # of what it would have done


def drop(_):
    gc.collect()


def test_results_that_nobody_wants_warn(echo):
    with pytest.warns(RuntimeWarning, match="never iterated"):
        drop(echo.map([1]))


def test_leaving_an_asynchronous_map_cancels_the_rest(echo, server):
    server.order(function="fu-echo", hold_index=500)

    async def main():
        results = echo.map.aio(range(100_000))
        assert await results.__anext__() == ((0,), {})
        await asyncio.to_thread(until_it_is_held)
        await results.aclose()

    def until_it_is_held():
        while server.order()["inputs"] <= 500:
            threading.Event().wait(0.01)

    asyncio.run(main())
    while not server.order()["cancelled"]:
        threading.Event().wait(0.01)


def test_breaking_out_of_an_asynchronous_map_cancels_the_rest_at_once(echo, server, caplog):
    """And not when the collector comes by, which then would close two generators one of which is in the other."""
    server.order(function="fu-echo", hold_index=500)

    async def main():
        async for _ in echo.map.aio(range(100_000)):
            break
        await asyncio.to_thread(until_cancelled)

    def until_cancelled():
        while not server.order()["cancelled"]:
            threading.Event().wait(0.01)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    gc.collect()
    assert caplog.text == ""


def test_deprecated_argument_warns(echo):
    with pytest.warns(exc.DeprecationError, match="wrap_returned_exceptions"):
        assert values(echo.map([1], wrap_returned_exceptions=False)) == [1]


def test_progress_is_shown(echo, server, monkeypatch):
    from rich.console import Console

    from skerry._run.terminal import map_progress

    seen = []
    monkeypatch.setattr(display, "track_map", lambda _name, call: seen.append(call))
    assert len(list(echo.map(range(10)))) == 10
    assert seen[0].progress == (10, 10)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(map_progress("echo", 3, 12_345, 61))
    line = console.export_text()
    assert "echo.map" in line
    assert "3/12,345" in line
    assert "0:01:01" in line
