"""Handles of calls: graphs, groups, ids."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.payload_pb import RemoteError, Result, ResultStatus
from skerry.call_graph import InputInfo, InputStatus


def test_call_graph_is_a_tree(echo):
    call = echo.spawn(1)
    expected = [
        InputInfo(
            "in-a-0",
            call.object_id,
            "",
            InputStatus.PENDING,
            "parent",
            "",
            [
                InputInfo("in-b-0", "fc-b", "ta-1", InputStatus.SUCCESS, "child", "", []),
                InputInfo("in-b-1", "fc-b", "", InputStatus.FAILURE, "child", "", []),
            ],
        )
    ]
    assert call.get_call_graph() == expected
    assert asyncio.run(call.get_call_graph.aio()) == expected


def test_statuses_have_their_numbers():
    assert [status.value for status in InputStatus] == [0, 1, 2, 3, 4, 5]
    assert InputStatus(77) is InputStatus.PENDING


def test_gather_raises_the_first_error_without_waiting_for_the_rest(client, echo, server):
    server.order(function="fu-echo", hold=True)
    server.order(function="fu-bad", result=Result(status=ResultStatus.TIMEOUT, error=RemoteError(message="too long")))
    slow = echo.spawn(1)
    bad = skerry.Function.from_name("demo", "bad", client=client).spawn()
    with pytest.raises(exc.FunctionTimeoutError, match="too long"):
        skerry.FunctionCall.gather(slow, bad)
    assert not server.order()["cancelled"]
    with pytest.raises(builtins.TimeoutError):
        slow.get(timeout=0)


def test_get_of_another_thread_goes_on_when_a_gather_fails(client, echo, server):
    server.order(function="fu-echo", hold=True)
    server.order(function="fu-bad", result=Result(status=ResultStatus.TIMEOUT, error=RemoteError(message="too long")))
    slow = echo.spawn(1)
    got = []
    waiter = threading.Thread(target=lambda: got.append(slow.get()))
    waiter.start()
    with pytest.raises(exc.FunctionTimeoutError):
        skerry.FunctionCall.gather(slow, skerry.Function.from_name("demo", "bad", client=client).spawn())
    server.order(function="fu-echo", hold=False)
    waiter.join(10)
    assert got == [((1,), {})]


@pytest.mark.parametrize("call_id", ["fc-1", "fu-" + "0" * 22, "", 5, None])
def test_ids_of_no_call(call_id):
    with pytest.raises(exc.InvalidError, match="fc-"):
        skerry.FunctionCall.from_id(call_id)


def test_handle_by_id_asks_nothing(server):
    server.kill()
    call = skerry.FunctionCall.from_id("fc-" + "x" * 22)
    assert pickle.loads(pickle.dumps(call)).object_id == call.object_id

    async def main():
        with pytest.warns(exc.DeprecationError, match="from_id"):
            return await skerry.FunctionCall.from_id.aio(call.object_id)

    assert asyncio.run(main()).object_id == call.object_id
    server.start()
