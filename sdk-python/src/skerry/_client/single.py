"""Calls of one input: ``.remote`` and ``.spawn``."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from skerry._context import current_input_id
from skerry._gen.skerry.v1.call_pb import CallKind, Input
from skerry._names import new_call_id
from skerry.exception import InvalidError

from .blobs import MAX_INLINE_BYTES, inline_payload, make_payload
from .results import is_large, unwrap
from .serialization import serialize
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry._gen.skerry.v1.call_pb import CallState, Output, Watch
    from skerry._gen.skerry.v1.payload_pb import Result
    from skerry.exception import Error

    from .client import Client

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class SingleCall:
    """One input on its way. ``done`` is set when its outcome is known or, for a spawned one, when the server has recorded it."""

    __slots__ = ("call_id", "done", "error", "function_id", "kind", "result", "unfinished")

    def __init__(self, function_id: str, kind: CallKind) -> None:
        self.call_id = new_call_id()
        self.function_id = function_id
        self.kind = kind
        self.unfinished: dict[int, Input] = {}
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

    def learn(self, state: CallState) -> None:
        """Nothing to learn: it is not watched."""

    def fail(self, error: Error) -> None:
        """Learn that no output will come."""
        self.error = error
        self.done.set()

    def watch(self) -> Watch | None:
        """None: the outputs of a SYNC call come unasked."""
        return None


def remote(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> Any:
    """Run one input and return its value, or raise what it raised."""
    call = _begin(client, function_id, name, arguments, CallKind.SYNC, method)
    try:
        call.done.wait()
    finally:
        client.session.release(call)
    return _outcome(client, call, name)


async def remote_aio(client: Client, function_id: str, name: str, arguments: Arguments, method: str = "") -> Any:
    """Do the same without blocking the event loop."""
    call = await _begin_aio(client, function_id, name, arguments, CallKind.SYNC, method)
    try:
        await call.done.wait_aio()
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
    client.session.submit(call, [Input(index=0, args=payload, method=method)], parent=current_input_id() or "")
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
    client.session.submit(call, [Input(index=0, args=payload, method=method)], parent=current_input_id() or "")
    return call


def _outcome(client: Client, call: SingleCall, name: str) -> Any:
    if call.error is not None:
        raise call.error
    return unwrap(client, call.result, name)


class Acceptance:
    """A call of several inputs, or one of many calls, of which the caller only waits until it is recorded."""

    def __init__(self, function_id: str, expected: int | None = None) -> None:
        self.call_id = new_call_id()
        self.function_id = function_id
        self.kind = CallKind.SPAWN
        self.unfinished: dict[int, Input] = {}
        self.done = Once()
        self.error: Error | None = None
        self.expected = expected
        self.accepted = 0

    def expect(self, count: int) -> None:
        """Say how many inputs there are."""
        self.expected = count
        if self.accepted >= count:
            self.done.set()

    def deliver(self, outputs: list[Output]) -> None:
        """Nobody here waits for outputs."""

    def accept(self, indexes: list[int]) -> None:
        """Learn that inputs are recorded."""
        for index in indexes:
            if self.unfinished.pop(index, None) is not None:
                self.accepted += 1
        if self.expected is not None and self.accepted >= self.expected:
            self.done.set()

    def learn(self, state: CallState) -> None:
        """Nothing to learn."""

    def fail(self, error: Error) -> None:
        """Learn that it is not recorded."""
        self.error = error
        self.done.set()

    def watch(self) -> Watch | None:
        """None: it is not watched."""
        return None


# How many calls of a spawn_map are on their way at a time.
_WINDOW = 256


def spawn_each(client: Client, function_id: str, name: str, inputs: Iterator[Arguments], method: str) -> None:
    """Record one call for each input; returns when all are."""
    waiting: deque[Acceptance] = deque()
    for arguments in inputs:
        call = Acceptance(function_id, 1)
        _send(client, call, 0, name, arguments, method)
        waiting.append(call)
        if len(waiting) >= _WINDOW:
            _await(client, waiting.popleft())
    while waiting:
        _await(client, waiting.popleft())


def spawn_many(client: Client, function_id: str, name: str, inputs: Iterator[Arguments], method: str) -> str:
    """Record one call of all inputs and return its id."""
    call = Acceptance(function_id)
    count = 0
    for arguments in inputs:
        _send(client, call, count, name, arguments, method)
        count += 1
    if not count:
        raise InvalidError(f"{name}: a call needs at least one input")
    call.expect(count)
    _await(client, call)
    return call.call_id


def _send(client: Client, call: Acceptance, index: int, name: str, arguments: Arguments, method: str) -> None:
    what = f"the arguments of {name}"
    payload = make_payload(client, serialize(arguments, what), what)
    client.session.submit(call, [Input(index=index, args=payload, method=method)], parent=current_input_id() or "")


def _await(client: Client, call: Acceptance) -> None:
    try:
        call.done.wait()
    finally:
        client.session.release(call)
    if call.error is not None:
        raise call.error
