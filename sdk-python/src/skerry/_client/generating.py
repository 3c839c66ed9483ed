"""Calls of generators: items come as they are yielded, a window of them ahead of who reads."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1.call_pb import CallKind, Input
from skerry._gen.skerry.v1.payload_pb import ResultStatus
from skerry.exception import DataLossError, Error

from .blobs import make_payload, read_payload
from .cancelling import cancel_soon
from .outstanding import Call
from .results import failure
from .serialization import deserialize, serialize
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from skerry._gen.skerry.v1.call_pb import Items, Output
    from skerry._gen.skerry.v1.payload_pb import Payload, Result

    from .client import Client
    from .single import Arguments

# After so many items the server hears how far the reader has come. It sends 1,000 ahead.
_ACKNOWLEDGE = 250

_SUCCESS = ResultStatus.SUCCESS


class GeneratorCall(Call):
    """One input of a generator on its way."""

    def __init__(self, client: Client, function_id: str, name: str) -> None:
        super().__init__(function_id, CallKind.SYNC)
        self._client = client
        self._name = name
        self._lock = threading.Lock()
        self._items: deque[Payload] = deque()
        self._received = 0
        self._acknowledged = 0
        self._arrival = Once()
        self._result: Result | None = None
        self._error: Error | None = None

    # Called from the reader thread.

    def deliver_items(self, items: Items) -> None:
        """Take items; those that came before a break of the session are dropped."""
        with self._lock:
            known = self._received + 1 - items.first
            if known < 0:
                self._error = DataLossError(
                    f"{self._name}: items {self._received + 1} to {items.first - 1} are no longer kept; read them sooner"
                )
            elif known < len(items.values):
                fresh = items.values[known:]
                self._items.extend(fresh)
                self._received += len(fresh)
        self._arrival.set()

    def deliver(self, outputs: list[Output]) -> None:
        """Take the end."""
        self.unfinished.clear()
        self._result = outputs[0].result
        self._arrival.set()

    def fail(self, error: Error) -> None:
        """Learn that nothing more will come."""
        self._error = error
        self._arrival.set()

    # Called by the reader of the items.

    def begin(self, arguments: Arguments, method: str) -> None:
        """Send the input."""
        what = f"the arguments of {self._name}"
        payload = make_payload(self._client, serialize(arguments, what), what)
        self._client.session.submit(self, [Input(index=0, args=payload, method=method)])

    def take(self) -> Payload | Once | None:
        """Return the next item, None after the last one, or what to wait for. Raises what the generator raised, after its items."""
        arrival = self._arrival
        if arrival.done:
            # Replaced before anything is looked at: what arrives from here on sets the new one.
            arrival = self._arrival = Once()
        # Before the items: those that came before the end are there once it is seen.
        result, error = self._result, self._error
        with self._lock:
            if self._items:
                return self._items.popleft()
        if error is not None:
            raise error
        if result is None:
            return arrival
        if result.status != _SUCCESS:
            raise failure(self._client, result, self._name)
        return None

    def value(self, payload: Payload) -> Any:
        """Return an item and count it as read. Downloads a large one."""
        value = deserialize(read_payload(self._client, payload), f"an item of {self._name}")
        self.seen += 1
        if self.seen - self._acknowledged >= _ACKNOWLEDGE and self._result is None:
            self._acknowledged = self.seen
            self._client.session.saw(self)
        return value

    def end(self) -> None:
        """Forget the call; one that has not ended is cancelled, for nobody would read what it yields."""
        if sys.is_finalizing():
            return  # no other thread goes on any more: one that has a lock would keep it
        ended = self._result is not None or self._error is not None
        self._client.session.release(self)
        if not ended:
            cancel_soon(self._client, self.call_id)


def generate(
    client: Client, function_id: str, name: str, arguments: Arguments, method: str
) -> Generator[Any, None, None]:
    """Run one input and yield its items."""
    call = GeneratorCall(client, function_id, name)
    call.begin(arguments, method)
    try:
        while (taken := call.take()) is not None:
            if isinstance(taken, Once):
                taken.wait()
            else:
                yield call.value(taken)
    finally:
        call.end()


async def generate_aio(
    begin: Callable[[], Awaitable[tuple[Client, str]]], name: str, arguments: Arguments, method: str
) -> AsyncGenerator[Any, None]:
    """Do the same without blocking the event loop, also while what to call is looked up."""
    import asyncio

    client, function_id = await begin()
    call = GeneratorCall(client, function_id, name)
    await asyncio.to_thread(call.begin, arguments, method)
    try:
        while (taken := call.take()) is not None:
            if isinstance(taken, Once):
                await taken.wait_aio()
            elif taken.content is not None and taken.content.field == "blob":
                yield await asyncio.to_thread(call.value, taken)
            else:
                yield call.value(taken)
    finally:
        call.end()
