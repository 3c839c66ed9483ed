"""Calls of many inputs: ``.map`` and its kin.

A feeder draws inputs from the user's iterators while outputs arrive; the consumer is the user's own loop. At most 1,000 inputs are
unfinished or unconsumed, so a slow consumer or a slow function stops the feeder, and memory stays bounded.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from skerry._context import current_input_id
from skerry._gen.skerry.v1.call_pb import CallKind, Input
from skerry._gen.skerry.v1.payload_pb import ResultStatus
from skerry._names import new_call_id

from .blobs import MAX_INLINE_BYTES, inline_payload, make_payload
from .generating import cancel_soon
from .results import failure, is_large, unwrap
from .serialization import serialize
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from skerry._gen.skerry.v1.call_pb import CallState, Output, Watch

    from .client import Client
    from .single import Arguments

MAX_OUTSTANDING = 1000
# A feeder that had to wait goes on once so many have been consumed: being woken for each would cost two thread switches a result.
_RESUME_BELOW = 872
_PARALLEL_UPLOADS = 8
# How many inputs of a synchronous source are drawn before other tasks of the event loop get a turn.
_YIELD_EVERY = 64

_SUCCESS = ResultStatus.SUCCESS


class MapCall:
    """One map on its way. The feeder calls ``room``, ``add`` and ``finish``; the consumer calls ``take``.

    Args:
        client: where to run.
        function_id: what to run.
        name: the function's name, for messages.
        ordered: give results in the order of their inputs.
        return_exceptions: give exceptions as results.
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
        self.call_id = new_call_id()
        self.function_id = function_id
        self.kind = CallKind.SYNC
        self.unfinished: dict[int, Input] = {}
        self._client = client
        self._name = name
        self._method = method
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._parent = current_input_id() or ""
        self._lock = threading.Lock()
        self._arrived: deque[Output] = deque()
        self._arrival = Once()
        self._credit = Once()
        self._buffer: dict[int, Any] = {}
        self._sent = 0
        self._given = 0
        self._consumed = 0
        self._all_sent = False
        self._closed = False
        self._error: BaseException | None = None
        self._uploads: _Uploads | None = None
        self.on_close: Callable[[], object] | None = None

    # Called from the reader thread.

    def deliver(self, outputs: list[Output]) -> None:
        """Take outputs; those that came before a break of the session are dropped."""
        pop = self.unfinished.pop
        self._arrived.extend([output for output in outputs if pop(output.index, None) is not None])
        self._arrival.set()

    def accept(self, indexes: list[int]) -> None:
        """Nothing: it is not spawned."""

    def learn(self, state: CallState) -> None:
        """Nothing: it is not watched."""

    def watch(self) -> Watch | None:
        """None: the outputs of a SYNC call come unasked."""
        return None

    def fail(self, error: BaseException) -> None:
        """Learn that no more outputs will come, or that the user's iterator raised."""
        if self._error is None:
            self._error = error
        self._arrival.set()
        self._credit.set()

    # Called by the feeder.

    @property
    def closed(self) -> bool:
        """Whether the consumer has gone."""
        return self._closed or self._error is not None

    def room(self) -> Once | None:
        """Return None if another input may be added, else what to wait for."""
        if self._sent - self._consumed < MAX_OUTSTANDING or self.closed:
            return None
        credit = self._credit = Once()
        # Looked at again: what was consumed before the line above did not set the new event.
        return None if self._sent - self._consumed < _RESUME_BELOW or self.closed else credit

    def add(self, arguments: Arguments) -> None:
        """Add an input."""
        what = f"the arguments of {self._name}"
        data = serialize(arguments, what)
        index = self._sent
        self._sent += 1
        if len(data) > MAX_INLINE_BYTES:
            self._upload(index, data, what)
        else:
            self._submit([Input(index=index, args=inline_payload(data), method=self._method)])

    def finish(self) -> None:
        """Learn that there are no more inputs."""
        self._all_sent = True
        self._arrival.set()

    # Called by the consumer.

    def take(self) -> list[Any] | Once | None:
        """Return results that are ready, None after the last, or what to wait for.

        Raises what the function or the user's iterator raised, as soon as it is known.
        """
        arrival = self._arrival
        if arrival.done:
            # Replaced before the queue is emptied: what arrives from here on sets the new one.
            arrival = self._arrival = Once()
        ready = self._collect()
        if self._error is not None:
            raise self._error
        if ready:
            self._given += len(ready)
            return ready
        if self._all_sent and self._given == self._sent:
            return None
        return arrival

    def consumed(self) -> None:
        """Learn that the user has one of the results."""
        self._consumed += 1
        if not self._credit.done and self._sent - self._consumed < _RESUME_BELOW:
            self._credit.set()

    @property
    def progress(self) -> tuple[int, int | None]:
        """How many results were consumed, and of how many; None while inputs are still drawn."""
        return self._consumed, self._sent if self._all_sent else None

    def has_blobs(self) -> bool:
        """Whether taking what has arrived means downloading."""
        return any(output.result is not None and is_large(output.result) for output in list(self._arrived))

    def close(self) -> None:
        """Stop feeding and forget outputs that have not come."""
        self._closed = True
        self._credit.set()
        if self._uploads is not None:
            self._uploads.close()
        if self.on_close is not None:
            self.on_close()
        self._client.session.release(self)
        if self.unfinished:
            # Nobody reads what they give.
            cancel_soon(self._client, self.call_id)

    def _collect(self) -> list[Any]:
        ready: list[Any] = []
        arrived = self._arrived
        while arrived:
            output = arrived.popleft()
            value = self._value(output)
            if self._ordered:
                self._buffer[output.index] = value
            else:
                ready.append(value)
        if self._ordered and self._buffer:
            buffer = self._buffer
            following = self._given
            while following in buffer:
                ready.append(buffer.pop(following))
                following += 1
        return ready

    def _value(self, output: Output) -> Any:
        result = output.result
        if result is not None and result.status == _SUCCESS:
            try:
                return unwrap(self._client, result, self._name)
            except Exception as err:
                if not self._return_exceptions:
                    raise
                return err
        error = failure(self._client, result, self._name)
        if not self._return_exceptions:
            raise error
        return error

    def _upload(self, index: int, data: bytes, what: str) -> None:
        if self._uploads is None:
            self._uploads = _Uploads()

        def upload() -> None:
            try:
                payload = make_payload(self._client, data, what)
                self._submit([Input(index=index, args=payload, method=self._method)])
            except Exception as err:
                self.fail(err)

        self._uploads.start(upload)

    def _submit(self, inputs: list[Input]) -> None:
        if not self.closed:
            self._client.session.submit(self, inputs, parent=self._parent)


class _Uploads:
    """Large inputs on their way to the blob store, a few at a time: the feeder waits while there are more."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool: ThreadPoolExecutor = ThreadPoolExecutor(_PARALLEL_UPLOADS, thread_name_prefix="skerry-upload")
        self._slots = threading.Semaphore(_PARALLEL_UPLOADS)

    def start(self, upload: Any) -> None:
        self._slots.acquire()
        future: Future[None] = self._pool.submit(upload)
        future.add_done_callback(lambda _: self._slots.release())

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def run(call: MapCall, inputs: Iterator[Arguments]) -> Iterator[Any]:
    """Give the results of a map whose inputs a background thread draws."""
    threading.Thread(target=_feed, args=(call, inputs), name="skerry-map-feeder", daemon=True).start()
    try:
        while (taken := call.take()) is not None:
            if isinstance(taken, Once):
                taken.wait()
            else:
                for value in taken:
                    call.consumed()
                    yield value
    finally:
        call.close()


def _feed(call: MapCall, inputs: Iterator[Arguments]) -> None:
    try:
        for arguments in inputs:
            while (wait := call.room()) is not None:
                wait.wait()
            if call.closed:
                return
            call.add(arguments)
        call.finish()
    except BaseException as err:  # the consumer's thread raises it
        call.fail(err)


async def run_aio(call: MapCall, inputs: AsyncIterator[Arguments]) -> AsyncIterator[Any]:
    """Give the results of a map whose inputs are drawn in the caller's event loop."""
    import asyncio

    feeder = asyncio.ensure_future(_feed_aio(call, inputs))
    try:
        while (taken := await _take_aio(call)) is not None:
            if isinstance(taken, Once):
                await taken.wait_aio()
            else:
                for value in taken:
                    call.consumed()
                    yield value
    finally:
        call.close()
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)


async def _take_aio(call: MapCall) -> list[Any] | Once | None:
    if not call.has_blobs():
        return call.take()
    import asyncio

    return await asyncio.to_thread(call.take)


async def _feed_aio(call: MapCall, inputs: AsyncIterator[Arguments]) -> None:
    import asyncio

    try:
        drawn = 0
        async for arguments in inputs:
            while (wait := call.room()) is not None:
                await wait.wait_aio()
            if call.closed:
                return
            call.add(arguments)
            drawn += 1
            if drawn % _YIELD_EVERY == 0:
                # A synchronous source never yields to the loop by itself.
                await asyncio.sleep(0)
        call.finish()
    except asyncio.CancelledError:
        raise
    except BaseException as err:  # the consumer raises it
        call.fail(err)
