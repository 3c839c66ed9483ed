"""``.logs`` of apps, functions and calls."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone

import pytest

import skerry
from skerry import exception as exc
from skerry._client.client import Client
from skerry._gen.skerry.v1.log_pb import LogSource, StreamLogsRequest

NOW = datetime.now(timezone.utc)


@pytest.fixture
def function(client):
    function = skerry.Function.from_name("demo", "echo", client=client)
    function._bind(client, "fu-echo", "ap-1")
    return function


def requests(server) -> list[StreamLogsRequest]:
    return [StreamLogsRequest.from_binary(bytes.fromhex(encoded)) for encoded in server.order()["log_requests"]]


def say(server, text, source="stdout"):
    server.order(log={"App": "ap-1", "Function": "echo", "Text": text, "Source": source})


def test_fetch(function, server):
    say(server, "a\n")
    say(server, "b\n", "stderr")
    since = datetime.now() - timedelta(minutes=5)  # noqa: DTZ005 - naive on purpose
    entries = list(function.logs.fetch(since=since, until=NOW, source="stderr", search_text="x"))
    assert [str(entry) for entry in entries] == ["a\n", "b\n"]
    assert [entry.source for entry in entries] == ["stdout", "stderr"]
    assert abs(entries[0].timestamp - datetime.now(timezone.utc)) < timedelta(minutes=1)
    (request,) = requests(server)
    assert (request.app, request.function_id, request.search, request.follow) == ("ap-1", "fu-echo", "x", False)
    assert request.source == LogSource.STDERR
    assert request.since is not None
    assert request.until is not None
    assert request.since.seconds == int(since.timestamp())
    assert request.until.seconds == int(NOW.timestamp())


def test_tail(function, server):
    say(server, "a\n")
    assert [entry.message for entry in function.logs.tail(3)] == ["a\n"]
    assert requests(server)[0].tail == 3

    async def main():
        return [entry.message async for entry in function.logs.tail.aio(source="stdout")]

    assert asyncio.run(main()) == ["a\n"]
    assert (requests(server)[1].tail, requests(server)[1].source) == (100, LogSource.STDOUT)


def test_bounds(function):
    long_ago = NOW - timedelta(days=36)
    for reading in (
        function.logs.fetch(since=long_ago),
        function.logs.fetch(since=NOW, until=NOW - timedelta(seconds=1)),
        function.logs.tail(20_001),
        function.logs.tail(0),
    ):
        with pytest.raises(exc.LogsFetchError):
            list(reading)
    assert list(function.logs.fetch(since=long_ago, until=NOW - timedelta(days=2))) == []
    with pytest.raises(exc.InvalidError, match="datetime"):
        list(function.logs.fetch(since="1h"))
    with pytest.raises(exc.InvalidError, match="stdout, stderr or system"):
        list(function.logs.tail(source="elsewhere"))


def test_stream_ends_when_nothing_comes(function, server):
    say(server, "a\n")
    assert [entry.message for entry in function.logs.stream(timeout=0.3)] == ["a\n"]
    assert requests(server)[0].follow


def test_stream_gives_what_comes_and_ends_with_its_app(function, server, client):
    came = threading.Event()
    seen = []

    def read():
        for entry in function.logs.stream():
            seen.append(entry.message)
            came.set()

    reader = threading.Thread(target=read)
    reader.start()
    say(server, "a\n")
    assert came.wait(10)
    say(server, "b\n")
    _stop(client)
    reader.join(10)
    assert seen == ["a\n", "b\n"]


def test_stream_in_a_loop_of_events(function, server):
    async def main():
        seen = []
        say(server, "a\n")
        async for entry in function.logs.stream.aio():
            seen.append(entry.message)
            if len(seen) == 2:
                break
            say(server, "b\n")
        return seen

    assert asyncio.run(main()) == ["a\n", "b\n"]


def test_a_slow_loop_gets_everything(function, server, client):
    for i in range(30):
        say(server, f"{i}\n")
    _stop(client)
    assert [entry.message for entry in function.logs.stream()] == [f"{i}\n" for i in range(30)]


def test_logs_of_a_call(function, server):
    call = function.spawn(1)
    say(server, "a\n")
    assert [entry.message for entry in call.logs.fetch()] == ["a\n"]
    (request,) = requests(server)
    assert (request.app, request.call_id) == ("ap-1", call.object_id)
    assert request.since is not None
    assert [entry.message for entry in call.logs.tail(1)] == ["a\n"]


def test_logs_of_an_app_that_does_not_run():
    with pytest.raises(exc.InvalidError, match="before it runs"):
        list(skerry.App("quiet").logs.tail())


def _stop(client: Client) -> None:
    from skerry._gen.skerry.v1.app_pb import StopAppRequest

    client.call(lambda: client.apps.stop_app(StopAppRequest(app="ap-1")))
