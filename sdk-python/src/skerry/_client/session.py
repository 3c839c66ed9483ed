"""The one stream that carries all calls of a client.

Callers' threads put frames into a queue; the transport's thread draws request messages from it, as large as what has gathered; a
reader thread hands the outputs to their calls. When the stream breaks, the reader opens a new one and sends again, marked as resumed,
every input whose output has not come: the server runs none of them twice on purpose.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from skerry.exception import ClientClosed, InternalError

from . import faults
from .frames import MAX_FRAME_INPUTS, Frame, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from skerry._gen.skerry.v1.call_pb import Input, SessionRequest, SessionResponse
    from skerry.exception import Error

    from .outstanding import Call
    from .patience import Patience, Retries

# How many finished calls may wait to be released until something else is sent. A release of its own would double the messages.
MAX_LAZY_RELEASES = 64


class Session:
    """All calls of a client, over one stream that is opened at the first of them.

    Args:
        connect: opens a stream; called again whenever one broke.
        patience: how long to try.

    Safe for use by many threads. ``close`` fails the calls that are open.
    """

    def __init__(
        self, connect: Callable[[Iterator[SessionRequest]], Iterator[SessionResponse]], patience: Patience
    ) -> None:
        self._connect = connect
        self._patience = patience
        # Called before anything is sent; raises where the session can't be used any more.
        self.check: Callable[[], None] = self._check_open
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._outbox: SimpleQueue[Frame | None] = SimpleQueue()
        # By call, what is in the queue and takes more inputs: the transport draws one frame where it would draw hundreds.
        self._growing: dict[str, Frame] = {}
        self._streaming = False
        self._calls: dict[str, Call] = {}
        self._releases: list[str] = []
        self._reader: threading.Thread | None = None

    def submit(self, call: Call, inputs: list[Input]) -> None:
        """Send inputs of a call. They are sent again until their outputs (SPAWN: their acceptance) have come."""
        self.check()
        with self._lock:
            if not self._streaming or call.call_id not in self._calls:
                self._enter(call)
            for item in inputs:
                call.unfinished[item.index] = item
                growing = self._growing.get(call.call_id)
                if growing is None or not growing.take(item):
                    self._growing[call.call_id] = growing = Frame(call, [item])
                    self._outbox.put(growing)

    def watch(self, call: Call) -> None:
        """Ask for the outputs of a call."""
        self.check()
        with self._lock:
            self._enter(call)
            self._outbox.put(Frame(call, []))

    def saw(self, call: Call) -> None:
        """Say how far the reader of a generator has come."""
        with self._lock:
            if call.call_id in self._calls:
                self._outbox.put(Frame(call, [], seen=call.seen))

    def release(self, call: Call) -> None:
        """Forget a call: nothing more is delivered to it, and the server forgets the outputs of SYNC calls."""
        with self._lock:
            if self._calls.pop(call.call_id, None) is None:
                return
            self._growing.pop(call.call_id, None)
            self._releases.append(call.call_id)
            if len(self._releases) >= MAX_LAZY_RELEASES:
                self._outbox.put(Frame(None, []))

    def close(self, timeout: float = 1.0) -> None:
        """End the stream and fail the calls that are open. Waits at most ``timeout`` seconds for the server's end."""
        self._closing.set()
        with self._lock:
            self._outbox.put(None)
            self._work.notify_all()
        self._fail_all(ClientClosed("the client was closed before the call had ended"))
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(timeout)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ClientClosed("the client is closed; make a new one")

    def _enter(self, call: Call) -> None:
        self._check_open()
        self._calls[call.call_id] = call
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="skerry-session", daemon=True)
            self._reader.start()
        elif not self._streaming:
            self._work.notify_all()

    def _read(self) -> None:
        retries = self._patience.retries(self._closing)
        while (outbox := self._begin()) is not None:
            error: Error | ConnectError = ConnectError(Code.UNAVAILABLE, "the server ended the session")
            try:
                for response in self._connect(self._requests(outbox)):
                    self._patience.reached = True
                    retries.succeeded()
                    self._dispatch(response)
            except ConnectError as err:
                error = err
            except Exception as err:
                # A defect in what hands out outputs must not leave callers waiting for ever.
                error = InternalError(f"the client failed to take an output: {err!r}; this is a defect in skerry")
                error.__cause__ = err
            outbox.put(None)
            if self._closing.is_set():
                return
            self._recover(error, retries)

    def _recover(self, error: Error | ConnectError, retries: Retries) -> None:
        if not isinstance(error, ConnectError):
            self._fail_all(error)
        elif not faults.is_broken(error):
            self._fail_all(faults.from_connect(error))
        elif not retries.wait(error):
            self._fail_all(self._patience.error(error.message))
            retries.succeeded()

    def _begin(self) -> SimpleQueue[Frame | None] | None:
        """Wait until there is a call, and return a queue that begins with what has to be sent again. None: closed."""
        with self._lock:
            self._streaming = False
            self._work.wait_for(lambda: self._calls or self._closing.is_set())
            if self._closing.is_set():
                return None
            self._outbox = SimpleQueue()
            self._growing = {}
            for call in self._calls.values():
                unfinished = list(call.unfinished.values())
                for start in range(0, len(unfinished), MAX_FRAME_INPUTS):
                    self._outbox.put(Frame(call, unfinished[start : start + MAX_FRAME_INPUTS], resumed=True))
                if not unfinished:
                    self._outbox.put(Frame(call, []))
                if call.seen:
                    self._outbox.put(Frame(call, [], seen=call.seen))
            self._streaming = True
            return self._outbox

    def _requests(self, outbox: SimpleQueue[Frame | None]) -> Iterator[SessionRequest]:
        """Draw request messages from a queue until it gives None."""
        carried: Frame | None = None
        ended = False
        while not ended:
            frame = carried or self._drawn(outbox.get())
            carried = None
            if frame is None:
                break
            request = Request()
            request.add(frame)
            while True:
                try:
                    frame = self._drawn(outbox.get_nowait())
                except Empty:
                    break
                if frame is None:
                    ended = True
                    break
                if not request.add(frame):
                    carried = frame
                    break
            yield from self._finish(request)
        yield from self._finish(Request())

    def _drawn(self, frame: Frame | None) -> Frame | None:
        """Have a frame from the queue grow no more."""
        if frame is not None and frame.call is not None and frame.inputs:
            with self._lock:
                if self._growing.get(frame.call.call_id) is frame:
                    del self._growing[frame.call.call_id]
        return frame

    def _finish(self, request: Request) -> Iterator[SessionRequest]:
        with self._lock:
            # A call that is watched again meanwhile is not to be forgotten.
            released = [call_id for call_id in self._releases if call_id not in self._calls]
            self._releases = []
        yield from request.messages(released)

    def _dispatch(self, response: SessionResponse) -> None:
        calls = self._calls
        for items in response.items:
            if (generator := calls.get(items.call_id)) is not None:
                generator.deliver_items(items)
        outputs = response.outputs
        start = 0
        while start < len(outputs):
            call_id = outputs[start].call_id
            end = start + 1
            while end < len(outputs) and outputs[end].call_id == call_id:
                end += 1
            if (call := calls.get(call_id)) is not None:
                call.deliver(outputs[start:end])
            start = end
        for accepted in response.accepted:
            if (call := calls.get(accepted.call_id)) is not None:
                call.accept(list(accepted.indexes))
        for state in response.states:
            if (call := calls.get(state.call_id)) is not None:
                call.learn(state)
        for refused in response.refused:
            if (call := calls.pop(refused.call_id, None)) is not None:
                call.fail(faults.from_number(refused.code, refused.message))

    def _fail_all(self, error: Error) -> None:
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
        for call in calls:
            call.fail(error)
