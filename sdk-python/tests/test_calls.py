"""Calls of one input over a real session."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

import skerry
from skerry import exception as exc
from skerry._client.client import Client
from skerry._gen.skerry.v1.payload_pb import RemoteError, Result, ResultStatus


def test_remote_carries_arguments_and_value(echo):
    assert echo.remote(1, "two", three=[3]) == ((1, "two"), {"three": [3]})


def test_remote_aio(echo):
    async def main():
        return await asyncio.gather(*(echo.remote.aio(i) for i in range(50)))

    assert asyncio.run(main()) == [((i,), {}) for i in range(50)]


def test_calls_from_many_threads_share_one_session(echo, server):
    results = {}

    def work(i):
        for j in range(50):
            results[i, j] = echo.remote(i, j)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {(i, j): ((i, j), {}) for i in range(8) for j in range(50)}
    assert server.order()["sessions"] == 1


def test_large_values_go_through_the_blob_store(echo, server):
    data = os.urandom(3_000_000)
    assert echo.remote(data) == ((data,), {})
    assert server.order()["uploads"] == 1


def test_spawn_is_accepted_and_its_result_comes_later(echo, server):
    server.order(function="fu-echo", hold=True)
    call = echo.spawn(7)
    assert call.object_id.startswith("fc-")
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.05)
    threading.Timer(0.05, lambda: server.order(function="fu-echo", hold=False)).start()
    assert call.get() == ((7,), {})
    assert call.get(timeout=0) == ((7,), {})
    assert call.num_inputs() == 1


def test_result_can_be_had_by_id_from_another_client(echo, server, client):
    call = echo.spawn(7)
    with Client(server.url, "tk-test", "secret") as other:
        again = skerry.FunctionCall.from_id(call.object_id, other)
        assert again.get() == ((7,), {})
        assert list(again.iter()) == [((7,), {})]


def test_spawn_and_get_aio(echo, server):
    async def main():
        server.order(function="fu-echo", hold=True)
        call = await echo.spawn.aio(7)
        with pytest.raises(TimeoutError):
            await call.get.aio(timeout=0)
        asyncio.get_running_loop().call_later(0.05, lambda: server.order(function="fu-echo", hold=False))
        return await call.get.aio()

    assert asyncio.run(main()) == ((7,), {})


def test_gather_waits_for_all(echo):
    calls = [echo.spawn(i) for i in range(20)]
    assert skerry.FunctionCall.gather(*calls) == [((i,), {}) for i in range(20)]
    assert asyncio.run(skerry.FunctionCall.gather.aio(*calls)) == [((i,), {}) for i in range(20)]


def test_gather_raises_the_first_error_without_waiting_for_the_rest(client, server):
    server.order(function="fu-slow", hold=True)
    failed = Result(status=ResultStatus.TIMEOUT, error=RemoteError(message="took too long"))
    server.order(function="fu-failing", result=failed)
    slow = skerry.Function.from_name("demo", "slow", client=client).spawn()
    failing = skerry.Function.from_name("demo", "failing", client=client).spawn()
    with pytest.raises(exc.FunctionTimeoutError, match="took too long"):
        skerry.FunctionCall.gather(slow, failing)


def test_cancel_asks_the_server(echo, server):
    call = echo.spawn(1)
    call.cancel()
    assert server.order()["cancelled"] == [call.object_id]


def test_unknown_call(client):
    with pytest.raises(exc.NotFoundError):
        skerry.FunctionCall.from_id("fc-" + "x" * 22, client).get()
    with pytest.raises(exc.InvalidError):
        skerry.FunctionCall.from_id("x")


def test_expired_result(client, server):
    call_id = "fc-" + "e" * 22
    server.order(expire=call_id)
    with pytest.raises(exc.OutputExpiredError):
        skerry.FunctionCall.from_id(call_id, client).get()


def test_refused_call_raises_by_its_code(client, server):
    server.order(function="fu-gone", refuse={"code": 9, "message": "app is stopped"})
    gone = skerry.Function.from_name("demo", "gone", client=client)
    with pytest.raises(exc.ConflictError, match="app is stopped"):
        gone.remote()
    with pytest.raises(exc.ConflictError, match="app is stopped"):
        list(gone.map([1, 2]))
    with pytest.raises(exc.ConflictError, match="app is stopped"):
        gone.spawn()


def test_wrong_token(server):
    with Client(server.url, "tk-test", "wrong") as client:
        with pytest.raises(exc.AuthError, match="skerry token"):
            client.hello()
        function = skerry.Function.from_name("demo", "echo", client=client)
        function._bind(client, "fu-echo")
        with pytest.raises(exc.AuthError):
            function.remote(1)


def test_function_that_is_not_there(client):
    with pytest.raises(exc.NotFoundError, match="missing"):
        skerry.Function.from_name("missing", "f", client=client).remote()


def test_no_server_fails_fast_and_says_what_to_do(server):
    server.kill()
    client = Client(server.url, "tk-test", "secret")
    began = time.monotonic()
    with pytest.raises(exc.ConnectionError, match="skerryd up"):
        client.hello()
    function = skerry.Function.from_name("demo", "echo", client=client)
    function._bind(client, "fu-echo")
    with pytest.raises(exc.ConnectionError, match="skerryd up"):
        function.remote(1)
    assert time.monotonic() - began < 6
    client.close()
    server.start()


def test_closed_client(echo, client):
    assert echo.remote(1)
    client.close()
    assert client.is_closed()
    with pytest.raises(exc.ClientClosed):
        echo.remote(1)


def test_closing_fails_open_calls(echo, client, server):
    server.order(function="fu-echo", hold=True)
    threading.Timer(0.1, client.close).start()
    with pytest.raises(exc.ClientClosed):
        echo.remote(1)


def test_blocking_call_in_a_loop_warns(echo):
    async def main():
        with pytest.warns(exc.AsyncUsageWarning, match=r"remote.aio"):
            echo.remote(1)

    asyncio.run(main())


def test_function_is_not_called_directly(echo):
    with pytest.raises(exc.InvalidError, match="remote"):
        echo(1)


def test_finished_calls_are_released(echo, server):
    for i in range(200):
        echo.remote(i)
    assert len(server.order()["released"]) >= 128


def test_release_of_a_watched_call_does_not_hide_a_later_watch(echo):
    call = echo.spawn(1)
    for _ in range(20):
        fresh = skerry.FunctionCall.from_id(call.object_id, call._client)
        assert fresh.get(timeout=5) == ((1,), {})
