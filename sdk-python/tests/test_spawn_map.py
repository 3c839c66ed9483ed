"""Inputs that are spawned many at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from skerry import exception as exc


def test_a_call_for_each_element(echo, server):
    assert echo.spawn_map(range(1000), kwargs={"k": 1}) is None
    report = server.order()
    assert (report["spawned"], report["inputs"]) == (1000, 1000)


def test_elements_are_drawn_in_the_callers_thread_and_loop(echo):
    places = []

    def inputs():
        places.append(threading.current_thread())
        yield 1

    async def later():
        places.append(asyncio.get_running_loop())
        yield 1

    async def main():
        await echo.spawn_map.aio(later(), inputs())
        call = await echo.experimental_spawn_map.aio(later())
        return asyncio.get_running_loop(), await call.get.aio()

    echo.spawn_map(inputs())
    loop, result = asyncio.run(main())
    here = threading.current_thread()
    assert places == [here, loop, here, loop]
    assert result == ((1,), {})


@pytest.mark.parametrize("together", [False, True])
def test_no_more_elements_are_drawn_than_are_on_their_way(echo, server, together):
    server.order(function="fu-echo", unrecorded=True)
    drawn = 0
    held = threading.Event()

    def inputs():
        nonlocal drawn
        for drawn in range(1, 1_000_001):
            if drawn == 256:
                held.set()
            yield drawn

    spawn = echo.experimental_spawn_map if together else echo.spawn_map
    failures = []

    def run():
        try:
            spawn(inputs())
        except exc.ClientClosed as err:
            failures.append(err)

    worker = threading.Thread(target=run)
    worker.start()
    assert held.wait(10)
    worker.join(0.2)
    assert worker.is_alive()
    assert drawn == 256
    echo._client.close()
    worker.join(10)
    assert len(failures) == 1


def test_exception_of_the_iterable_comes_after_what_was_drawn_is_recorded(echo, server):
    def inputs():
        yield from range(10)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        echo.spawn_map(inputs())
    assert server.order()["spawned"] == 10


def test_one_call_of_all_elements(echo):
    call = echo.experimental_spawn_map(range(2500))
    assert call.num_inputs() == 2500
    assert call.get(index=1234) == ((1234,), {})
    assert [result[0][0] for result in call.iter()] == list(range(2500))
    assert [result[0][0] for result in call.iter(start=7, end=9)] == [7, 8]
    for start, end in ((3, 1), (0, 2501), (-1, 2)):
        with pytest.raises(ValueError, match="2500 inputs"):
            list(call.iter(start=start, end=end))

    async def main():
        return [result[0][0] async for result in call.iter.aio(start=2490)]

    assert asyncio.run(main()) == list(range(2490, 2500))


def test_one_call_of_nothing_is_refused(echo):
    with pytest.raises(exc.InvalidError, match="at least one input"):
        echo.experimental_spawn_map([])
    assert echo.spawn_map([]) is None


def test_refused_calls(client, server, echo):
    server.order(function="fu-echo", refuse={"code": 9, "message": "app is stopped"})
    for spawn in (echo.spawn_map, echo.experimental_spawn_map):
        with pytest.raises(exc.ConflictError, match="app is stopped"):
            spawn(range(1000))


def test_blocking_in_a_loop_of_events_is_refused(echo, monkeypatch):
    monkeypatch.setenv("SKERRY_ASYNC_WARNINGS", "0")

    async def main():
        with pytest.raises(exc.InvalidError, match=r"spawn_map\.aio"):
            echo.spawn_map([1])
        with pytest.raises(exc.InvalidError, match=r"experimental_spawn_map\.aio"):
            echo.experimental_spawn_map([1])

    asyncio.run(main())


def test_asynchronous_iterable_of_a_blocking_call_is_refused(echo):
    async def inputs():
        yield 1

    with pytest.raises(exc.InvalidError, match=r"\.aio"):
        echo.spawn_map(inputs())
