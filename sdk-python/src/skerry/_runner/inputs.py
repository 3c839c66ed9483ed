"""Runs inputs, one at a time and in order, in the main thread."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from time import monotonic

from . import context, outcome, wire
from .outcome import CANCELLED, ERROR_CANCELLED, FAILURE, SUCCESS, ends_container, failed, head, item_head
from .streams import end_lines
from .streams import flush as flush_streams
from .target import PLAIN, check_awaitable, check_value, detach_terminal, is_coroutine
from .values import dump_result, load_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .linger import Linger
    from .outcome import Key
    from .target import Target

    _Frame = tuple[int, dict[str, Any], bytes | bytearray]

# Outputs wait for those of the inputs that have arrived behind them: at most so long (in seconds), behind inputs that are short, and
# until they have so many bytes together. To send each for itself would cost more than to run a short input.
_HOLD = 0.002
_SHORT = 0.001
_HOLD_BYTES = 64 << 10


# Imported by the first input that asks for a terminal.
_TERMINALS = "skerry._runner.interaction"


class Inputs:
    """The runner once the function is loaded.

    The host may send inputs ahead. When it wants some of them back, or one cancelled, it sends a frame and then SIGUSR1, whose handler
    reads what has arrived. It acts while user code runs, and so between two of its instructions: no input begins meanwhile. A signal that
    comes late finds no frame.
    """

    def __init__(self, channel: wire.Channel, target: Target, container_id: str) -> None:
        from skerry.exception import InputCancellation

        self.slots = self.most = 1
        self._channel = channel
        self._target = target
        self._container_id = container_id
        self._cancellation = InputCancellation
        self._ahead: list[_Frame] = []  # read by the signal's handler, in order
        self._current: Key | None = None  # while user code runs
        self._found: dict[str, tuple[Any, bool, bool]] = {}  # by method
        self._batch: set[Key] = set()  # those that run together with it and are not cancelled
        self._poked = False  # a signal came that nobody has acted on
        self._acting = False
        self._held_since = 0.0
        self._lock = RLock()  # of what is held and sent: items go out from a thread of their own
        self._linger: Linger | None = None
        self._in_loop = False
        self._cancelled = False  # the running input, or batch
        self._stopping = False  # the host wants the end, and no output of what runs
        self._forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def active(self) -> int:
        """Return how many inputs run."""
        return 1 if self._current is not None else 0

    def tell_slots(self, n: int) -> None:
        """Tell the host how many inputs are taken at a time. For user code, while an input runs: it goes out with that one's output."""
        with self._lock:
            self._channel.hold(wire.SLOTS, f'{{"slots":{n}}}')

    def serve(self) -> bool:
        """Run inputs until the host stops the runner or closes the connection. Return whether one of them was interrupted."""
        while not self._stopping:
            frame = self._next()
            if frame is None or frame[0] == wire.STOP:
                break
            kind, meta, data = frame
            if kind == wire.INPUT:
                self._serve_input(meta, data)
            elif kind == wire.BATCH:
                self._serve_batch(meta["count"])
            elif kind == wire.WITHDRAW:
                self._withdraw()
            elif kind != wire.CANCEL:  # one that is too late names an input that has ended
                raise wire.ProtocolError(f"a frame of kind {kind} where an input belongs")
        self._flush()
        return self._stopping

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """Do what the host wants of the inputs it has sent. The handler of SIGUSR1."""
        self._poked = True
        current = self._current
        if current is None or self._acting:
            return  # whoever is at work looks again
        interrupted = False
        while self._poked:
            self._poked = False
            self._acting = True
            try:
                interrupted = self._act(current) or interrupted
            finally:
                self._acting = False
        if not interrupted:
            return
        self._cancelled = True
        if self._in_loop:
            self._target.loop().cancel()
        elif self._stopping:
            raise KeyboardInterrupt
        else:
            raise self._cancellation("Input was cancelled by user")

    def _act(self, current: Key) -> bool:
        """Read what has arrived. Return whether what runs is to be interrupted."""
        interrupted = False
        for frame in self._channel.arrived():
            kind, meta, _ = frame
            if kind == wire.WITHDRAW:
                self._withdraw()
            elif kind == wire.STOP and meta.get("interrupt"):
                self._stopping = interrupted = True
            elif kind != wire.CANCEL:
                self._ahead.append(frame)
            else:
                key = meta["call"], meta["index"]
                if key in self._batch:
                    interrupted = self._cancel_in_batch(key, meta) or interrupted
                elif key == current:
                    interrupted = True
                else:
                    self._cancel_ahead(meta)
        return interrupted

    def _cancel_in_batch(self, key: Key, meta: dict[str, Any]) -> bool:
        """Leave one input out of the running batch. Return whether nothing is left of it."""
        if meta.get("reason") == "timeout" or len(self._batch) == 1:
            return True
        self._batch.discard(key)
        self._answer_cancelled(key)
        return False

    def _answer_cancelled(self, key: Key) -> None:
        with self._lock:
            self._channel.hold(wire.OUTPUT, head(key, CANCELLED, 0, ERROR_CANCELLED))
        self._flush()

    def _next(self) -> _Frame | None:
        """Return the next frame; before waiting for one, send the outputs."""
        if self._ahead:
            return self._ahead.pop(0)
        if not self._channel.buffered():
            self._flush()
        return self._channel.read()

    def _withdraw(self) -> None:
        """Give back the inputs that have not begun."""
        keys = [f'{{"call":{wire.quote(meta["call"])},"index":{meta["index"]}}}' for _, meta, _ in self._ahead]
        self._ahead.clear()
        with self._lock:
            self._channel.hold(wire.WITHDRAWN, f'{{"inputs":[{",".join(keys)}]}}')
        self._flush()

    def _cancel_ahead(self, wanted: dict[str, Any]) -> None:
        for i, (_, meta, _) in enumerate(self._ahead):
            if (meta["call"], meta["index"]) == (wanted["call"], wanted["index"]):
                del self._ahead[i]
                self._answer_cancelled((meta["call"], meta["index"]))
                return

    def _serve_input(self, meta: dict[str, Any], data: bytes | bytearray) -> None:
        key = meta["call"], meta["index"]
        token = context.enter(*key)
        self._cancelled = False
        began = monotonic()
        try:
            try:
                self._current = key
                result, members = self._run(key, meta, data)
                status = SUCCESS
            finally:
                self._current = None
        except BaseException as err:
            self._current = None
            status, members, result = self._failed(err, [meta["format"]])[0]
        self._left(token, status)
        if self._stopping:
            return
        now = monotonic()
        self._put(key, status, now - began, members, result)
        if now - began > _SHORT or now - self._held_since > _HOLD or self._channel.held_bytes > _HOLD_BYTES:
            self._flush()

    def _left(self, token: Any, status: int) -> None:
        """End an input's context, and what was lent to it."""
        if context.wrote:
            end_lines()  # what is left of one is this input's
        context.leave(token)
        if self._forked:
            flush_streams()
            os._exit(0 if status == SUCCESS else 1)
        if _TERMINALS in sys.modules:
            detach_terminal()

    def _put(self, key: Key, status: int, seconds: float, members: str, result: bytes) -> None:
        """Hold an output, or send it where it is large."""
        meta = head(key, status, seconds, members)
        with self._lock:
            if len(result) > wire.MAX_INLINE:
                flush_streams()
                self._channel.flush()
                self._channel.send(wire.OUTPUT, meta, result)
                return
            if not self._channel.held_bytes:
                self._held_since = monotonic()
            self._channel.hold(wire.OUTPUT, meta, result)

    def _flush(self) -> None:
        """Send the outputs that are held, after what the inputs have printed."""
        if self._channel.held_bytes:
            flush_streams()
            with self._lock:
                self._channel.flush()

    def _run(self, key: Key, meta: dict[str, Any], data: bytes | bytearray) -> tuple[bytes, str]:
        """Return the result as bytes and the meta members that say what it is."""
        if self._poked:
            self.on_signal(0, None)
        format_ = meta["format"]
        args, kwargs = load_arguments(data, format_)
        method = meta.get("method", "")
        function, generator, coroutine = self._found.get(method) or self._find(method)
        if generator:
            return b"", f'"items":{self._generate(key, function(*args, **kwargs), format_)}'
        if coroutine:
            value = self._await(function, args, kwargs)
        else:
            value = function(*args, **kwargs)
            if type(value) not in PLAIN:
                value = self._awaited(value)
        if type(value) not in PLAIN:
            check_value(value, False)
        result = dump_result(value, format_)
        return result, wire.payload_meta(result, format_)

    def _find(self, method: str) -> tuple[Any, bool, bool]:
        """Return what an input calls, whether it is a generator, and whether to call it gives a coroutine."""
        function, generator = self._target.find(method)
        found = self._found[method] = function, generator, is_coroutine(function)
        return found

    def _awaited(self, value: Any) -> Any:
        """Return what user code returned; something to be awaited is."""
        check_awaitable(value)
        return self._await(_itself, (value,)) if hasattr(value, "__await__") else value

    def _await(self, make: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        """Await what is made. An interruption is the event loop's from before it is made on: a coroutine that was made is awaited."""
        loop = self._target.loop()
        loop.arm()
        self._in_loop = True
        try:
            return loop.run(make(*args, **(kwargs or {})))
        finally:
            self._in_loop = False

    def _generate(self, key: Key, value: Any, format_: int) -> int:
        """Send the items of a generator; return how many there were."""
        if hasattr(value, "__await__"):
            value = self._await(_itself, (value,))
        check_value(value, True)
        if hasattr(value, "__anext__"):
            return self._await(self._generate_async, (key, value, format_))
        number = 0
        try:
            while True:
                self._current = key  # from here on it may be interrupted
                if self._poked:
                    self.on_signal(0, None)
                try:
                    item = next(value)
                except StopIteration:
                    return number
                self._current = None
                number += 1
                self._send_item(key, number, item, format_)
        finally:
            close = getattr(value, "close", None)
            if close is not None:
                close()

    async def _generate_async(self, key: Key, value: Any, format_: int) -> int:
        number = 0
        try:
            async for item in value:
                number += 1
                self._current = None  # what is being written is not to be mixed with what a signal's handler writes
                self._send_item(key, number, item, format_)
                self._current = key
                if self._poked:
                    self.on_signal(0, None)
        finally:
            close = getattr(value, "aclose", None)
            if close is not None:
                await close()
        return number

    def _send_item(self, key: Key, number: int, item: Any, format_: int) -> None:
        """Hold an item, but not for long: the next may take its time."""
        data = dump_result(item, format_)
        meta = item_head(key, number, wire.payload_meta(data, format_))
        if len(data) > wire.MAX_INLINE:
            with self._lock:
                self._flush()
                self._channel.send(wire.ITEM, meta, data)
            return
        with self._lock:
            self._channel.hold(wire.ITEM, meta, data)
        now = monotonic()
        if now - self._held_since > _HOLD or self._channel.held_bytes > _HOLD_BYTES:
            self._held_since = now
            self._flush()
        else:
            if self._linger is None:
                from .linger import Linger

                self._linger = Linger(_HOLD, self._flush)
            self._linger.touch()

    def _serve_batch(self, count: int) -> None:
        frames = [self._next() for _ in range(count)]
        metas = [frame[1] for frame in frames if frame is not None]
        keys = [(meta["call"], meta["index"]) for meta in metas]
        token = context.enter(*keys[0])
        self._cancelled, self._batch = False, set(keys)
        began = monotonic()
        outputs: list[tuple[int, str, bytes]] = []
        try:
            try:
                self._current = keys[0]
                outputs = self._run_batch(metas, [frame[2] for frame in frames if frame is not None])
            finally:
                self._current = None
        except BaseException as err:
            self._current = None
            outputs = self._failed(err, [meta["format"] for meta in metas])
        wanted, self._batch = self._batch, set()
        self._left(token, outputs[0][0])
        if self._stopping:
            return
        elapsed = monotonic() - began
        for key, (status, members, result) in zip(keys, outputs, strict=True):
            if key in wanted:
                self._put(key, status, elapsed, members, result)
        self._flush()

    def _run_batch(self, metas: list[dict[str, Any]], datas: list[bytes | bytearray]) -> list[tuple[int, str, bytes]]:
        from .batch import merge, split

        if self._poked:
            self.on_signal(0, None)
        function, _, coroutine = self._find(metas[0].get("method", ""))
        arguments = merge(
            function, [load_arguments(data, meta["format"]) for meta, data in zip(metas, datas, strict=True)]
        )
        value = self._await(function, (), arguments) if coroutine else self._awaited(function(**arguments))
        return [
            outcome.success(result, meta["format"])
            for meta, result in zip(metas, split(function, value, len(metas)), strict=True)
        ]

    def _failed(self, err: BaseException, formats: list[int]) -> list[tuple[int, str, bytes]]:
        """Return the status, meta members and data of each of the inputs that raised together."""
        if self._cancelled:  # whatever user code made of it
            return [(CANCELLED, ERROR_CANCELLED, b"")] * len(formats)
        if ends_container(err):
            self._stopping = True
            outcome.say_end(err)
            return [(CANCELLED, ERROR_CANCELLED, b"")] * len(formats)
        return [(FAILURE, members, data) for members, data in failed(err, self._container_id, formats)]

    def _after_fork(self) -> None:
        # A child that user code forks must neither answer for its parent nor hold the connection open.
        self._forked = True
        self._current = None
        self._channel.close()


def _itself(value: Any) -> Any:
    return value
