"""Runs inputs, one at a time and in order, in the main thread."""

from __future__ import annotations

import os
import sys
from time import monotonic

from . import context, wire
from .values import dump_result, load_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from .aio import Loop

    _Frame = tuple[int, dict[str, Any], bytes | bytearray]

_SUCCESS, _FAILURE, _CANCELLED = 1, 2, 3

# Outputs wait for those of the inputs that have arrived behind them: at most so long (in seconds), behind inputs that are short, and
# until they have so many bytes together. To send each for itself would cost more than to run a short input.
_HOLD = 0.002
_SHORT = 0.001
_HOLD_BYTES = 64 << 10


class Inputs:
    """The runner once the function is loaded.

    The host may send inputs ahead. When it wants some of them back, or one cancelled, it sends a frame and then SIGUSR1, whose handler
    reads what has arrived. It acts while user code runs, and so between two of its instructions: no input begins meanwhile. A signal that
    comes late finds no frame.
    """

    def __init__(self, channel: wire.Channel, function: Callable[..., Any], container_id: str) -> None:
        from skerry.exception import InputCancellation

        self._channel = channel
        self._function = function
        self._container_id = container_id
        self._cancellation = InputCancellation
        self._ahead: list[_Frame] = []  # read by the signal's handler, in order
        self._current: tuple[str, int] | None = None  # while user code runs
        self._poked = False  # a signal came that nobody has acted on
        self._acting = False
        self._held_since = 0.0
        self._loop: Loop | None = None
        self._in_loop = False
        self._cancelled = False  # the running input
        self._forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def serve(self) -> None:
        """Run inputs until the host stops the runner or closes the connection."""
        while True:
            frame = self._next()
            if frame is None or frame[0] == wire.STOP:
                break
            kind, meta, data = frame
            if kind == wire.INPUT:
                self._serve_input(meta, data)
            elif kind == wire.WITHDRAW:
                self._withdraw()
            elif kind != wire.CANCEL:  # one that is too late names an input that has ended
                raise wire.ProtocolError(f"a frame of kind {kind} where an input belongs")
        self._flush()
        if self._loop is not None:
            self._loop.close()

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """Do what the host wants of the inputs it has sent. The handler of SIGUSR1."""
        self._poked = True
        current = self._current
        if current is None or self._acting:
            return  # whoever is at work looks again
        cancelled = False
        while self._poked:
            self._poked = False
            self._acting = True
            try:
                cancelled = self._act(current) or cancelled
            finally:
                self._acting = False
        if cancelled:
            self._cancelled = True
            if self._in_loop and self._loop is not None:
                self._loop.cancel()
            else:
                raise self._cancellation("Input was cancelled by user")

    def _act(self, current: tuple[str, int]) -> bool:
        """Read what has arrived. Return whether the running input is cancelled."""
        cancelled = False
        for frame in self._channel.arrived():
            kind, meta, _ = frame
            if kind == wire.WITHDRAW:
                self._withdraw()
            elif kind != wire.CANCEL:
                self._ahead.append(frame)
            elif (meta["call"], meta["index"]) == current:
                cancelled = True
            else:
                self._cancel_ahead(meta)
        return cancelled

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
        self._channel.hold(wire.WITHDRAWN, f'{{"inputs":[{",".join(keys)}]}}')
        self._flush()

    def _cancel_ahead(self, wanted: dict[str, Any]) -> None:
        for i, (_, meta, _) in enumerate(self._ahead):
            if (meta["call"], meta["index"]) == (wanted["call"], wanted["index"]):
                del self._ahead[i]
                self._channel.hold(wire.OUTPUT, _head((meta["call"], meta["index"]), _CANCELLED, 0, _ERROR_CANCELLED))
                self._flush()
                return

    def _serve_input(self, meta: dict[str, Any], data: bytes | bytearray) -> None:
        key = meta["call"], meta["index"]
        token = context.enter(*key)
        self._cancelled = False
        began = monotonic()
        try:
            try:
                self._current = key
                result = self._run(meta["format"], data)
                status, members = _SUCCESS, wire.payload_meta(result)
            finally:
                self._current = None
        except BaseException as err:
            self._current = None
            status, members, result = self._failed(err)
        context.leave(token)
        if self._forked:
            _flush_streams()
            os._exit(0 if status == _SUCCESS else 1)
        now = monotonic()
        head = _head(key, status, now - began, members)
        if len(result) > wire.MAX_INLINE:
            _flush_streams()
            self._channel.flush()
            self._channel.send(wire.OUTPUT, head, result)
            return
        if not self._channel.held_bytes:
            self._held_since = now
        self._channel.hold(wire.OUTPUT, head, result)
        if now - began > _SHORT or now - self._held_since > _HOLD or self._channel.held_bytes > _HOLD_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Send the outputs that are held, after what the inputs have printed."""
        if self._channel.held_bytes:
            _flush_streams()
            self._channel.flush()

    def _run(self, format_: int, data: bytes | bytearray) -> bytes:
        """Return the pickled result."""
        if self._poked:
            self.on_signal(0, None)
        args, kwargs = load_arguments(data, format_)
        value = self._function(*args, **kwargs)
        if hasattr(value, "__await__"):
            value = self._await(value)
        return dump_result(value)

    def _await(self, value: Any) -> Any:
        if self._loop is None:
            from .aio import Loop

            self._loop = Loop()
        self._loop.arm()
        self._in_loop = True
        try:
            return self._loop.run(value)
        finally:
            self._in_loop = False

    def _failed(self, err: BaseException) -> tuple[int, str, bytes]:
        """Return the status, meta members and data of an input that raised."""
        if self._cancelled:  # whatever user code made of it
            return _CANCELLED, _ERROR_CANCELLED, b""
        from .failure import Failure

        failure = Failure(err, self._container_id)
        _carefully("stderr", "write", failure.text)
        return _FAILURE, f'"error":{failure.error}' + (',"format":1' if failure.data else ""), failure.data

    def _after_fork(self) -> None:
        # A child that user code forks must neither answer for its parent nor hold the connection open.
        self._forked = True
        self._current = None
        self._channel.close()


_ERROR_CANCELLED = (
    '"error":{"type":"skerry.exception.InputCancellation","message":"the input was cancelled","traceback":""}'
)


def _head(key: tuple[str, int], status: int, seconds: float, members: str) -> str:
    elapsed = f'"elapsed_us":{int(seconds * 1e6) or 1},'
    return f'{{"call":{wire.quote(key[0])},"index":{key[1]},"status":{status},{elapsed}{members}}}'


def _flush_streams() -> None:
    _carefully("stdout", "flush")
    _carefully("stderr", "flush")


def _carefully(stream: str, method: str, *args: object) -> None:
    try:  # noqa: SIM105 - contextlib is not imported before user code
        getattr(getattr(sys, stream), method)(*args)
    except Exception:  # noqa: S110 - user code may have closed a stream, or put anything in its place
        pass
