"""Calls of one input: ``.remote`` and ``.spawn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1.call_pb import CallKind, Input

from .blobs import MAX_INLINE_BYTES, inline_payload, make_payload
from .cancelling import cancel_soon
from .outstanding import Call
from .results import is_large, unwrap
from .serialization import serialize
from .waiting import Once

if TYPE_CHECKING:
    from skerry._gen.skerry.v1.call_pb import Output
    from skerry._gen.skerry.v1.payload_pb import Result
    from skerry.exception import Error

    from .client import Client

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class SingleCall(Call):
    """One input on its way. ``done`` is set when its outcome is known or, for a spawned one, when the server has recorded it."""

    __slots__ = ("done", "error", "result")

    def __init__(self, function_id: str, kind: CallKind) -> None:
        super().__init__(function_id, kind)
        self.done = Once()
        self.result: Result | None = None
        self.error: Error | None = None

    def deliver(self, outputs: list[Output]) -> None:
        """Take the output."""
        self.unfinished.clear()
        self.result = outputs[0].result
        self.done.set()

    def accept(self, indexes: list[int]) -> None:
        """Learn that the input is recorded."""
        if self.kind == CallKind.SPAWN and indexes:
            self.unfinished.clear()
            self.done.set()

    def fail(self, error: Error) -> None:
        """Learn that no output will come."""
        self.error = error
        self.done.set()


def remote(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> Any:
    """Run one input and return its value, or raise what it raised."""
    call = _begin(client, function_id, name, arguments, CallKind.SYNC, method)
    try:
        call.done.wait()
    except BaseException:  # Ctrl-C, or a notebook's interrupt
        cancel_soon(client, call.call_id)
        raise
    finally:
        client.session.release(call)
    return _outcome(client, call, name)


async def remote_aio(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> Any:
    """Do the same without blocking the event loop."""
    call = await _begin_aio(client, function_id, name, arguments, CallKind.SYNC, method)
    try:
        await call.done.wait_aio()
    except BaseException:  # the task that waits was cancelled
        cancel_soon(client, call.call_id)
        raise
    finally:
        client.session.release(call)
    if call.result is not None and is_large(call.result):
        import asyncio

        return await asyncio.to_thread(_outcome, client, call, name)
    return _outcome(client, call, name)


def spawn(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> str:
    """Record one input and return its call's id: from then on nothing loses it."""
    call = _begin(client, function_id, name, arguments, CallKind.SPAWN, method)
    try:
        call.done.wait()
    finally:
        client.session.release(call)
    if call.error is not None:
        raise call.error
    return call.call_id


async def spawn_aio(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> str:
    """Do the same without blocking the event loop."""
    call = await _begin_aio(client, function_id, name, arguments, CallKind.SPAWN, method)
    try:
        await call.done.wait_aio()
    finally:
        client.session.release(call)
    if call.error is not None:
        raise call.error
    return call.call_id


def _begin(
    client: Client, function_id: str, name: str, arguments: Arguments, kind: CallKind, method: str
) -> SingleCall:
    what = f"the arguments of {name}"
    payload = make_payload(client, serialize(arguments, what), what)
    call = SingleCall(function_id, kind)
    client.session.submit(call, [Input(index=0, args=payload, method=method)])
    return call


async def _begin_aio(
    client: Client, function_id: str, name: str, arguments: Arguments, kind: CallKind, method: str
) -> SingleCall:
    what = f"the arguments of {name}"
    data = serialize(arguments, what)
    if len(data) > MAX_INLINE_BYTES:
        import asyncio

        payload = await asyncio.to_thread(make_payload, client, data, what)
    else:
        payload = inline_payload(data)
    call = SingleCall(function_id, kind)
    client.session.submit(call, [Input(index=0, args=payload, method=method)])
    return call


def _outcome(client: Client, call: SingleCall, name: str) -> Any:
    if call.error is not None:
        raise call.error
    return unwrap(client, call.result, name)
