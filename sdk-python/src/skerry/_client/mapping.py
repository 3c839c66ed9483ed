"""Calls of many inputs: ``.map`` and its kin.

A feeder draws inputs from the user's iterators while outputs arrive; the consumer is the user's own loop. At most 1,000 inputs are
unfinished, and a consumer that is slow has at most 1,000 results ahead of it, so that memory stays bounded on both sides. Where the
consumer waits for one slow input, results behind it gather up to a bound in bytes: one straggler holds up nobody else.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1.call_pb import CallKind, Input
from skerry._gen.skerry.v1.payload_pb import ResultStatus

from .blobs import MAX_INLINE_BYTES, inline_payload, make_payload
from .cancelling import cancel_soon
from .outstanding import Call
from .results import failure, is_large, unwrap
from .serialization import serialize
from .uploads import Uploads
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator

    from skerry._gen.skerry.v1.call_pb import Output
    from skerry._gen.skerry.v1.payload_pb import Payload

    from .client import Client
    from .single import Arguments

    _Weighed = tuple[Output, int]

# Inputs of a map without an output, and results that a slow consumer has ahead of it.
MAX_OUTSTANDING = 1000
# Bytes of inputs without an output and of results that were not consumed, above which no more inputs are drawn.
MAX_HELD_BYTES = 64 << 20
# A feeder that had to wait goes on once so few are left: being woken for each would cost two thread switches a result.
_RESUME_BELOW = 872
# How many inputs are drawn before there is another look at what is outstanding, unless one is larger than this.
_DRAW_AHEAD = 64
_SMALL_BYTES = 4 << 10
# How many inputs of a synchronous source are drawn before other tasks of the event loop get a turn.
_YIELD_EVERY = 64
# What an input or an output takes besides its bytes.
_OVERHEAD_BYTES = 512

_SUCCESS = ResultStatus.SUCCESS
_NEVER = sys.maxsize


class MapCall(Call):
    """One map on its way. The feeder calls ``room``, ``encode``, ``send`` and ``finish``; the consumer ``take``, ``value``, ``consumed``.

    Args:
        client: where to run.
        function_id: what to run.
        name: the function's name, for messages.
        ordered: give results in the order of their inputs.
        return_exceptions: give exceptions as results.
        method: the method, where the function is a class.
    """

    def __init__(
        self,
        client: Client,
        function_id: str,
        name: str,
        *,
        ordered: bool,
        return_exceptions: bool,
        method: str = "",
    ) -> None:
        super().__init__(function_id, CallKind.SYNC)
        self._client = client
        self._name = name
        self._what = f"the arguments of {name}"
        self._method = method
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._arrived: deque[_Weighed] = deque()
        self._arrival = Once()
        self._credit = Once()
        self._buffer: dict[int, _Weighed] = {}
        self._failed: Output | None = None
        # Sums, each written by one thread: together they are the bytes that are held.
        self._sent_bytes = 0
        self._arrived_bytes = 0
        self._consumed_bytes = 0
        self._sent = 0
        self._finished = 0
        self._given = 0
        self._consumed = 0
        self._resume_at = _NEVER  # how many results are consumed when a waiting feeder may go on
        self._starving = False
        self._all_sent = False
        self.closed = False
        """Whether the consumer has gone, or all is over because of an error."""
        self._error: BaseException | None = None
        self._uploads: Uploads | None = None
        self.on_close: Callable[[], object] | None = None

    # Called from the reader thread.

    def deliver(self, outputs: list[Output]) -> None:
        """Take outputs; those that came before a break of the session are dropped."""
        pop = self.unfinished.pop
        arrived = self._arrived
        gained = finished = 0
        for output in outputs:
            index = output.index
            if not self._ordered or index == self._given:
                self._starving = False
            if (item := pop(index, None)) is not None:
                result = output.result
                weight = _weight(result.value if result is not None else None)
                gained += weight - _weight(item.args)
                arrived.append((output, weight))
                finished += 1
        self._finished += finished
        self._arrived_bytes += gained
        self._arrival.set()
        if self._starving:
            self._lend()

    def fail(self, error: BaseException) -> None:
        """Learn that no more outputs will come, or that the user's iterator raised."""
        if self._error is None:
            self._error = error
        self.closed = True
        self._arrival.set()
        self._credit.set()

    # Called by the feeder.

    def room(self) -> int | Once:
        """Return how many more inputs may be added before this is asked again, or what to wait for."""
        self._resume_at = _NEVER
        if (room := self._room(MAX_OUTSTANDING)) > 0:
            return room
        credit = self._credit = Once()
        self._resume_at = self._sent - _RESUME_BELOW + 1
        # Looked at again: what was consumed before the lines above did not set the new event.
        return self._room(_RESUME_BELOW) or credit

    def encode(self, arguments: Arguments) -> bytes:
        """Return the pickle of an input's arguments."""
        return serialize(arguments, self._what)

    def send(self, data: bytes) -> None:
        """Add an input. Blocks where it is large and others are being uploaded."""
        index = self._sent
        self._sent += 1
        if len(data) > MAX_INLINE_BYTES:
            self._sent_bytes += _OVERHEAD_BYTES
            self._upload(index, data)
        else:
            self._sent_bytes += _OVERHEAD_BYTES + len(data)
            self._submit(Input(index=index, args=inline_payload(data), method=self._method))

    def finish(self) -> None:
        """Learn that there are no more inputs."""
        self._all_sent = True
        self._arrival.set()

    # Called by the consumer.

    def take(self) -> list[_Weighed] | Once | None:
        """Return outputs that are next, each with what it weighs, None after the last, or what to wait for.

        Raises what the function raised, in order of arrival, and what the user's iterator raised, as soon as it is known.
        """
        arrival = self._arrival
        if arrival.done:
            # Replaced before the queue is emptied: what arrives from here on sets the new one.
            arrival = self._arrival = Once()
        ready = self._collect()
        if self._error is not None:
            raise self._error
        if ready:
            self._starving = False
            self._given += len(ready)
            return ready
        if self._failed is not None:
            raise failure(self._client, self._failed.result, self._name)
        if self._all_sent and self._given == self._sent:
            return None
        self._starving = True
        self._lend()
        return arrival

    def value(self, output: Output) -> Any:
        """Return the value of an output. Downloads a large one."""
        try:
            return unwrap(self._client, output.result, self._name)
        except BaseException as err:
            if not self._return_exceptions or not isinstance(err, Exception):
                raise
            return err

    def consumed(self, weight: int) -> None:
        """Learn that the user gets an output of that weight."""
        self._consumed_bytes += weight
        self._consumed += 1
        if self._consumed >= self._resume_at:
            self._lend()

    @property
    def progress(self) -> tuple[int, int]:
        """How many inputs have ended, and how many there are so far."""
        return self._finished, self._sent

    def close(self) -> None:
        """Stop feeding and forget outputs that have not come."""
        if sys.is_finalizing():
            return  # no other thread goes on any more: one that has a lock would keep it
        self.closed = True
        self._credit.set()
        if self._uploads is not None:
            self._uploads.close()
        if self.on_close is not None:
            self.on_close()
        self._client.session.release(self)
        if self.unfinished:
            # Nobody reads what they give.
            cancel_soon(self._client, self.call_id)

    def _room(self, bound: int) -> int:
        if self.closed:
            return 1  # so that the feeder goes on, and sees it
        sent = self._sent
        held = self._sent_bytes + self._arrived_bytes - self._consumed_bytes
        if sent - self._finished >= bound or held >= MAX_HELD_BYTES:
            return 1 if sent == self._consumed else 0  # one input is always allowed, whatever its size
        ahead = sent - self._finished if self._starving else sent - self._consumed
        return min(max(bound - ahead, 0), _DRAW_AHEAD)

    def _lend(self) -> None:
        """Let a feeder that waits go on if there is room."""
        if not self._credit.done and self._room(_RESUME_BELOW):
            self._credit.set()

    def _collect(self) -> list[_Weighed]:
        ready: list[_Weighed] = []
        arrived, buffer = self._arrived, self._buffer
        following = self._given
        while arrived and self._failed is None:
            weighed = arrived.popleft()
            output = weighed[0]
            if not self._return_exceptions and (output.result is None or output.result.status != _SUCCESS):
                self._failed = output
            elif not self._ordered:
                ready.append(weighed)
            elif output.index != following:
                buffer[output.index] = weighed
            else:
                ready.append(weighed)
                following += 1
                while buffer and (weighed := buffer.pop(following, None)) is not None:
                    ready.append(weighed)
                    following += 1
        return ready

    def _upload(self, index: int, data: bytes) -> None:
        if self._uploads is None:
            self._uploads = Uploads()

        def upload() -> None:
            try:
                payload = make_payload(self._client, data, self._what)
                self._submit(Input(index=index, args=payload, method=self._method))
            except Exception as err:
                self.fail(err)

        self._uploads.start(upload)

    def _submit(self, item: Input) -> None:
        if self.closed:
            return
        self._client.session.submit(self, [item])
        if self.closed:
            self._client.session.release(self)  # closed meanwhile: it must not come back


def _weight(payload: Payload | None) -> int:
    """Return about how much memory a payload takes."""
    content = payload.content if payload is not None else None
    return _OVERHEAD_BYTES + (len(content.value) if content is not None and content.field == "inline" else 0)


def run(call: MapCall, inputs: Iterator[Arguments]) -> Generator[Any, None, None]:
    """Give the results of a map whose inputs a background thread draws, in the caller's context."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_feed, call, inputs), name="skerry-map-feeder", daemon=True).start()
    try:
        while (taken := call.take()) is not None:
            if isinstance(taken, Once):
                taken.wait()
                continue
            for output, weight in taken:
                value = call.value(output)
                call.consumed(weight)
                yield value
    finally:
        call.close()


def _feed(call: MapCall, inputs: Iterator[Arguments]) -> None:
    try:
        room = 0
        for arguments in inputs:
            while room == 0:
                if isinstance(found := call.room(), int):
                    room = found
                else:
                    found.wait()
            if call.closed:
                return
            data = call.encode(arguments)
            call.send(data)
            room = room - 1 if len(data) <= _SMALL_BYTES else 0
        call.finish()
    except BaseException as err:  # the consumer's thread raises it
        call.fail(err)


async def run_aio(
    begin: Callable[[], Awaitable[MapCall]], inputs: AsyncGenerator[Arguments, None]
) -> AsyncGenerator[Any, None]:
    """Give the results of a map whose inputs are drawn in the caller's event loop.

    One generator, not one around another: a loop that is left early leaves both to the collector, and each would close the inner one.
    """
    import asyncio

    call = await begin()
    feeder = asyncio.ensure_future(_feed_aio(call, inputs))
    try:
        while (taken := call.take()) is not None:
            if isinstance(taken, Once):
                await taken.wait_aio()
                continue
            for output, weight in taken:
                if output.result is not None and is_large(output.result):
                    value = await asyncio.to_thread(call.value, output)
                else:
                    value = call.value(output)
                call.consumed(weight)
                yield value
    finally:
        call.close()
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)


async def _feed_aio(call: MapCall, inputs: AsyncGenerator[Arguments, None]) -> None:
    import asyncio

    try:
        drawn = room = 0
        async for arguments in inputs:
            while room == 0:
                if isinstance(found := call.room(), int):
                    room = found
                else:
                    await found.wait_aio()
            if call.closed:
                return
            data = call.encode(arguments)
            if len(data) > MAX_INLINE_BYTES:
                await asyncio.to_thread(call.send, data)
            else:
                call.send(data)
            room = room - 1 if len(data) <= _SMALL_BYTES else 0
            drawn += 1
            if drawn % _YIELD_EVERY == 0:
                # A synchronous source never yields to the loop by itself.
                await asyncio.sleep(0)
        call.finish()
    except asyncio.CancelledError:
        raise
    except BaseException as err:  # the consumer raises it
        call.fail(err)
    finally:
        await inputs.aclose()
