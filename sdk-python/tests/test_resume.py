"""A session that breaks, and a server that is killed: every input yields one result."""

from __future__ import annotations

import asyncio
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._client.client import Client
from skerry._gen.skerry.v1.app_pb import ListAppsRequest


def test_map_goes_on_over_a_broken_session(echo, server):
    server.order(break_after=700)
    assert list(echo.map(range(3000))) == [((i,), {}) for i in range(3000)]
    report = server.order()
    assert report["sessions"] == 2
    assert report["resumed"] >= 1
    assert report["inputs"] - report["resumed"] <= 3000


def test_many_breaks(echo, server):
    results = []
    for result in echo.map(range(2000), order_outputs=False):
        results.append(result[0][0])
        if len(results) % 400 == 0:
            server.order(break_now=True)
    assert sorted(results) == list(range(2000))


def test_calls_survive_a_killed_server(echo, server):
    server.order(function="fu-echo", hold=True)
    results = []
    workers = [threading.Thread(target=lambda i=i: results.append(echo.remote(i))) for i in range(5)]
    for worker in workers:
        worker.start()
    while server.order()["inputs"] < 5:
        threading.Event().wait(0.01)
    server.kill()
    threading.Event().wait(0.3)
    server.start()
    for worker in workers:
        worker.join(10)
    assert sorted(results) == [((i,), {}) for i in range(5)]
    assert server.order()["resumed"] == 5


def test_map_survives_a_killed_server(echo, server):
    results = iter(echo.map(range(4000)))
    collected = [next(results) for _ in range(500)]
    server.kill()
    server.start()
    collected += list(results)
    assert collected == [((i,), {}) for i in range(4000)]


def test_watch_survives_a_broken_session(echo, server):
    server.order(function="fu-echo", hold=True)
    call = echo.spawn(3)
    got = []
    waiter = threading.Thread(target=lambda: got.append(call.get()))
    waiter.start()
    waiter.join(0.1)
    server.order(break_now=True)
    waiter.join(0.2)
    server.order(function="fu-echo", hold=False)
    waiter.join(10)
    assert got == [((3,), {})]


def test_idle_session_is_not_reopened_until_it_is_needed(echo, server):
    echo.remote(1)
    server.kill()
    server.start()
    threading.Event().wait(0.3)
    assert server.order()["sessions"] == 0
    assert echo.remote(2) == ((2,), {})


def test_requests_survive_a_restart(client, server):
    client.hello()
    server.kill()
    threading.Timer(0.5, server.start).start()
    assert client.call(lambda: client.apps.list_apps(ListAppsRequest())).apps


def test_gives_up_after_a_long_time(server, monkeypatch):
    monkeypatch.setenv("SKERRY_RECONNECT_TIMEOUT", "0.5")
    with Client(server.url, "tk-test", "secret") as client:
        echo = skerry.Function.from_name("demo", "echo", client=client)
        assert echo.remote(1)
        server.kill()
        with pytest.raises(exc.ConnectionError, match="skerryd up"):
            echo.remote(2)
        server.start()
        assert echo.remote(3) == ((3,), {})


def test_cancelled_task_releases_its_call(echo, server):
    server.order(function="fu-echo", hold=True)

    async def main():
        task = asyncio.ensure_future(echo.remote.aio(1))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    server.order(function="fu-echo", hold=False)
    assert echo.remote(2) == ((2,), {})
