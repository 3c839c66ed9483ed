"""The one stream that carries all calls of a client.

Callers' threads put frames into a queue; the transport's thread draws request messages from it, as large as what has gathered; a
reader thread hands the outputs to their calls. When the stream breaks, the reader opens a new one and sends again, marked as resumed,
every input whose output has not come: the server runs none of them twice on purpose.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from skerry._gen.skerry.v1.call_pb import ItemsSeen, SessionRequest, Submit, Watch
from skerry.exception import ClientClosed, InternalError

from . import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from skerry._gen.skerry.v1.call_pb import CallKind, CallState, Input, Output, SessionResponse
    from skerry.exception import Error

# Bounds of one request message.
MAX_FRAME_BYTES = 1 << 20
MAX_FRAME_INPUTS = 1000

# How many finished calls may wait to be released until something else is sent. A release of its own would double the messages.
MAX_LAZY_RELEASES = 64

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5


class Call(Protocol):
    """A call as the session sees it. All methods are called from the reader thread and must not block."""

    call_id: str
    function_id: str
    kind: CallKind
    # Inputs without an output, by index; those of a SPAWN call only until they are accepted. The session adds, the call removes.
    unfinished: dict[int, Input]

    def deliver(self, outputs: list[Output]) -> None:
        """Take outputs. One that was seen before a break may come again."""
        ...

    def accept(self, indexes: list[int]) -> None:
        """Learn that inputs are recorded (SPAWN only)."""
        ...

    def learn(self, state: CallState) -> None:
        """Learn where a watched call stands."""
        ...

    def fail(self, error: Error) -> None:
        """Learn that no output will come."""
        ...

    def watch(self) -> Watch | None:
        """Return the Watch that gets the outputs still missing; None for a call that is not watched."""
        ...


class Patience:
    """How long a server is tried, and what is raised then. Shared by all connections of a client.

    Args:
        first: seconds for a server that was never reached.
        later: seconds for one that was.
        give_up: makes the exception from the last error's text.
    """

    def __init__(self, first: float, later: float, give_up: Callable[[str], Error]) -> None:
        self.reached = False
        self._first = first
        self._later = later
        self._give_up = give_up

    def retries(self, closing: threading.Event, within: float | None = None) -> Retries:
        """Begin a series of attempts, which ends early once ``closing`` is set, or after ``within`` seconds if that is less."""
        return Retries(self, closing, within)

    @property
    def seconds(self) -> float:
        """How long to try from now on."""
        return self._later if self.reached else self._first

    def error(self, reason: str) -> Error:
        """Return what to raise when the time is over."""
        return self._give_up(reason)


class Retries:
    """One series of attempts with growing delays."""

    def __init__(self, patience: Patience, closing: threading.Event, within: float | None) -> None:
        self._patience = patience
        self._closing = closing
        self._within = within
        self.succeeded()

    def succeeded(self) -> None:
        """Begin anew: the server answered."""
        self._since: float | None = None
        self._delay = _FIRST_DELAY

    def wait(self, error: ConnectError) -> bool:
        """Wait before the next attempt. False if the time is over."""
        now = time.monotonic()
        if not faults.is_refused(error):
            self._patience.reached = True
        self._since = self._since or now
        seconds = self._patience.seconds if self._within is None else min(self._within, self._patience.seconds)
        if now + self._delay - self._since > seconds:
            return False
        self._closing.wait(self._delay)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return True


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
        self._outbox: SimpleQueue[_Frame | None] = SimpleQueue()
        self._streaming = False
        self._calls: dict[str, Call] = {}
        self._releases: list[str] = []
        self._reader: threading.Thread | None = None

    def submit(self, call: Call, inputs: list[Input], *, parent: str = "") -> None:
        """Send inputs of a call. They are sent again until their outputs (SPAWN: their acceptance) have come."""
        self.check()
        with self._lock:
            self._enter(call)
            for item in inputs:
                call.unfinished[item.index] = item
            self._outbox.put(_Frame(call, inputs, parent))

    def watch(self, call: Call) -> None:
        """Ask for the outputs of a call."""
        self.check()
        with self._lock:
            self._enter(call)
            self._outbox.put(_Frame(call, [], ""))

    def saw(self, call: Call) -> None:
        """Say how far the reader of a generator has come."""
        with self._lock:
            if call.call_id in self._calls:
                self._outbox.put(_Frame(call, [], "", seen=getattr(call, "seen", 0)))

    def release(self, call: Call) -> None:
        """Forget a call: nothing more is delivered to it, and the server forgets the outputs of SYNC calls."""
        with self._lock:
            if self._calls.pop(call.call_id, None) is None:
                return
            self._releases.append(call.call_id)
            if len(self._releases) >= MAX_LAZY_RELEASES:
                self._outbox.put(_Frame(None, [], ""))

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

    def _begin(self) -> SimpleQueue[_Frame | None] | None:
        """Wait until there is a call, and return a queue that begins with what has to be sent again. None: closed."""
        with self._lock:
            self._streaming = False
            self._work.wait_for(lambda: self._calls or self._closing.is_set())
            if self._closing.is_set():
                return None
            self._outbox = SimpleQueue()
            for call in self._calls.values():
                unfinished = list(call.unfinished.values())
                for start in range(0, len(unfinished), MAX_FRAME_INPUTS):
                    self._outbox.put(_Frame(call, unfinished[start : start + MAX_FRAME_INPUTS], "", resumed=True))
                if not unfinished:
                    self._outbox.put(_Frame(call, [], ""))
                if seen := getattr(call, "seen", 0):
                    self._outbox.put(_Frame(call, [], "", seen=seen))
            self._streaming = True
            return self._outbox

    def _requests(self, outbox: SimpleQueue[_Frame | None]) -> Iterator[SessionRequest]:
        """Draw request messages from a queue until it gives None."""
        carried: _Frame | None = None
        ended = False
        while not ended:
            frame = carried or outbox.get()
            carried = None
            if frame is None:
                break
            request = _Request()
            request.add(frame)
            while True:
                try:
                    frame = outbox.get_nowait()
                except Empty:
                    break
                if frame is None:
                    ended = True
                    break
                if not request.add(frame):
                    carried = frame
                    break
            yield from self._finish(request)
        yield from self._finish(_Request())

    def _finish(self, request: _Request) -> Iterator[SessionRequest]:
        with self._lock:
            # A call that is watched again meanwhile is not to be forgotten.
            released = [call_id for call_id in self._releases if call_id not in self._calls]
            self._releases = []
        yield from request.messages(released)

    def _dispatch(self, response: SessionResponse) -> None:
        calls = self._calls
        for items in response.items:
            if (generator := calls.get(items.call_id)) is not None:
                generator.deliver_items(items)  # pyright: ignore - only generators' calls get items
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


class _Frame:
    """Something to send: inputs of a call, its Watch (no inputs), or only the releases that wait (no call)."""

    __slots__ = ("call", "inputs", "parent", "resumed", "seen")

    def __init__(
        self, call: Call | None, inputs: list[Input], parent: str, *, resumed: bool = False, seen: int = 0
    ) -> None:
        self.call = call
        self.inputs = inputs
        self.parent = parent
        self.resumed = resumed
        self.seen = seen  # not 0: items of a generator that were read, and nothing else


class _Request:
    """A request message in the making."""

    __slots__ = ("_frames", "_inputs", "_size")

    def __init__(self) -> None:
        self._frames: list[_Frame] = []
        self._inputs = 0
        self._size = 0

    def add(self, frame: _Frame) -> bool:
        """Take a frame. False if it has to go into the next message."""
        size = sum(_size(item) for item in frame.inputs)
        full = self._inputs + len(frame.inputs) > MAX_FRAME_INPUTS or self._size + size > MAX_FRAME_BYTES
        if full and self._frames:
            return False
        self._frames.append(frame)
        self._inputs += len(frame.inputs)
        self._size += size
        return True

    def messages(self, released: list[str]) -> Iterator[SessionRequest]:
        """Return the message. A frame that is too large alone, after a resumption, becomes several."""
        if len(self._frames) == 1 and self._size > MAX_FRAME_BYTES:
            yield from _split(self._frames[0])
            self._frames = []
        submits: dict[tuple[str, bool], Submit] = {}
        watches: list[Watch] = []
        seen: list[ItemsSeen] = []
        for frame in self._frames:
            if frame.call is None:
                continue
            if frame.seen:
                seen.append(ItemsSeen(call_id=frame.call.call_id, index=0, count=frame.seen))
                continue
            if not frame.inputs:
                if (watch := frame.call.watch()) is not None:
                    watches.append(watch)
                continue
            key = (frame.call.call_id, frame.resumed)
            if (submit := submits.get(key)) is not None:
                submit.inputs.extend(frame.inputs)
            else:
                submits[key] = _submit(frame, frame.inputs)
        if submits or watches or released or seen:
            yield SessionRequest(
                submits=list(submits.values()), watches=watches, released_call_ids=released, items_seen=seen
            )


def _split(frame: _Frame) -> Iterator[SessionRequest]:
    part: list[Input] = []
    size = 0
    for item in frame.inputs:
        if part and size + _size(item) > MAX_FRAME_BYTES:
            yield SessionRequest(submits=[_submit(frame, part)])
            part, size = [], 0
        part.append(item)
        size += _size(item)
    yield SessionRequest(submits=[_submit(frame, part)])


def _submit(frame: _Frame, inputs: list[Input]) -> Submit:
    assert frame.call is not None  # noqa: S101 - only frames with a call have inputs
    return Submit(
        call_id=frame.call.call_id,
        function_id=frame.call.function_id,
        kind=frame.call.kind,
        inputs=list(inputs),
        resumed=frame.resumed,
        parent_input_id=frame.parent,
    )


def _size(item: Input) -> int:
    content = item.args.content  # pyright: ignore[reportOptionalMemberAccess] - every input has arguments
    return len(content.value) + 32 if content is not None and content.field == "inline" else 128
