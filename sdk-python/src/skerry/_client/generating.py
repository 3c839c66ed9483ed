"""Calls of generators: items come as they are yielded, a window of them ahead of who reads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from skerry._context import current_input_id
from skerry._gen.skerry.v1.call_pb import CallKind, CancelCallRequest, Input
from skerry._names import new_call_id
from skerry.exception import DataLossError, Error

from .blobs import make_payload, read_payload
from .results import failure
from .serialization import deserialize, serialize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from skerry._gen.skerry.v1.call_pb import CallState, Items, Output, Watch
    from skerry._gen.skerry.v1.payload_pb import Payload, Result

    from .client import Client
    from .single import Arguments

# After so many items the server hears how far the reader has come. It sends 1,000 ahead.
_ACKNOWLEDGE = 250

_SUCCESS = 1


class GeneratorCall:
    """One input of a generator on its way."""

    def __init__(self, client: Client, function_id: str, name: str) -> None:
        self.call_id = new_call_id()
        self.function_id = function_id
        self.kind = CallKind.SYNC
        self.unfinished: dict[int, Input] = {}
        self.seen = 0  # items that were handed to the reader; read by the session when it begins anew
        self._client = client
        self._name = name
        self._changed = threading.Condition()
        self._items: list[Payload] = []
        self._received = 0
        self._acknowledged = 0
        self._result: Result | None = None
        self._error: Error | None = None

    def deliver_items(self, items: Items) -> None:
        """Take items; those that came before are dropped."""
        with self._changed:
            new = self._received + 1 - items.first
            if new < 0:
                self._error = DataLossError(
                    f"{self._name}: items {self._received + 1} to {items.first - 1} are no longer kept; read them sooner"
                )
            elif new < len(items.values):
                fresh = items.values[new:]
                self._items.extend(fresh)
                self._received += len(fresh)
            self._changed.notify_all()

    def deliver(self, outputs: list[Output]) -> None:
        """Take the end."""
        with self._changed:
            self.unfinished.clear()
            self._result = outputs[0].result
            self._changed.notify_all()

    def accept(self, indexes: list[int]) -> None:
        """Nothing to learn: it is not recorded."""

    def learn(self, state: CallState) -> None:
        """Nothing to learn: it is not watched."""

    def fail(self, error: Error) -> None:
        """Learn that nothing more will come."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def watch(self) -> Watch | None:
        """None: it comes unasked."""
        return None

    def take(self) -> list[Any] | None:
        """Wait for items and return those that there are; None after the last one. Raises what the generator raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._result is not None or self._error is not None)
            items, self._items = self._items, []
            result, error = self._result, self._error
        if items:
            values = [self._value(payload) for payload in items]
            self.seen += len(items)
            if self.seen - self._acknowledged >= _ACKNOWLEDGE and result is None:
                self._acknowledged = self.seen
                self._client.session.saw(self)
            return values
        if error is not None:
            raise error
        if result is None or result.status != _SUCCESS:
            raise failure(self._client, result, self._name)
        return None

    def _value(self, payload: Payload) -> Any:
        return deserialize(read_payload(self._client, payload), f"an item of {self._name}")

    def begin(self, arguments: Arguments, method: str) -> None:
        """Send the input."""
        what = f"the arguments of {self._name}"
        payload = make_payload(self._client, serialize(arguments, what), what)
        item = Input(index=0, args=payload, method=method)
        self._client.session.submit(self, [item], parent=current_input_id() or "")

    def end(self) -> None:
        """Forget the call; one that has not ended is cancelled, for nobody would read what it yields."""
        ended = self._result is not None or self._error is not None
        self._client.session.release(self)
        if not ended:
            cancel_soon(self._client, self.call_id)


def cancel_soon(client: Client, call_id: str) -> None:
    """Cancel a call in the background: whoever leaves it doesn't want to wait."""

    def cancel() -> None:
        try:
            client.call(lambda: client.calls.cancel_call(CancelCallRequest(call_id=call_id)), 5)
        except Error:
            return  # it has ended, or the server is away and cancels what nobody waits for by itself

    threading.Thread(target=cancel, name="skerry-cancel", daemon=True).start()


def generate(client: Client, function_id: str, name: str, arguments: Arguments, method: str) -> Iterator[Any]:
    """Run one input and yield its items."""
    call = GeneratorCall(client, function_id, name)
    call.begin(arguments, method)
    try:
        while (values := call.take()) is not None:
            yield from values
    finally:
        call.end()


async def generate_aio(
    client: Client, function_id: str, name: str, arguments: Arguments, method: str
) -> AsyncIterator[Any]:
    """Do the same without blocking the event loop."""
    import asyncio

    call = GeneratorCall(client, function_id, name)
    await asyncio.to_thread(call.begin, arguments, method)
    try:
        while (values := await asyncio.to_thread(call.take)) is not None:
            for value in values:
                yield value
    finally:
        call.end()
