"""Runs inputs, one at a time, in the main thread."""

from __future__ import annotations

import os
import sys

from . import context, wire
from .values import dump_result, load_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from .aio import Loop

_SUCCESS, _FAILURE, _CANCELLED = 1, 2, 3


class Inputs:
    """The runner once the function is loaded.

    Cancelling: the host sends a Cancel frame and then SIGUSR1, whose handler looks whether the frame is there and names
    the input that runs right now. So a signal that comes late hits no other input.
    """

    def __init__(self, channel: wire.Channel, function: Callable[..., Any], container_id: str) -> None:
        from skerry.exception import InputCancellation

        self._channel = channel
        self._function = function
        self._container_id = container_id
        self._cancellation = InputCancellation
        self._current: tuple[str, int] | None = None  # while user code runs
        self._poked = False  # a signal came while none did
        self._loop: Loop | None = None
        self._in_loop = False
        self._cancelled = False  # the running input
        self._forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def serve(self) -> None:
        """Run inputs until the host stops the runner or closes the connection."""
        while True:
            frame = self._channel.read()
            if frame is None or frame[0] == wire.STOP:
                break
            kind, meta, data = frame
            if kind == wire.INPUT:
                self._serve_input(meta, data)
            elif kind != wire.CANCEL:  # one that is too late names an input that has ended
                raise wire.ProtocolError(f"a frame of kind {kind} where an input belongs")
        if self._loop is not None:
            self._loop.close()

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """Cancel the running input if that is what the host wants. The handler of SIGUSR1."""
        if self._current is None:
            self._poked = True
        elif self._channel.take_cancel(*self._current):
            self._cancelled = True
            if self._in_loop and self._loop is not None:
                self._loop.cancel()
            else:
                raise self._cancellation("Input was cancelled by user")

    def _serve_input(self, meta: dict[str, Any], data: bytes | bytearray) -> None:
        key = meta["call"], meta["index"]
        token = context.enter(*key)
        self._cancelled = False
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
        head = f'{{"call":{wire.quote(key[0])},"index":{key[1]},"status":{status},{members}}}'
        _flush()  # so that what the input printed is there before its output
        if self._forked:
            os._exit(0 if status == _SUCCESS else 1)
        self._channel.send(wire.OUTPUT, head, result)

    def _run(self, format_: int, data: bytes | bytearray) -> bytes:
        """Return the pickled result."""
        if self._poked:
            self._poked = False
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
            error = '{"type":"skerry.exception.InputCancellation","message":"the input was cancelled","traceback":""}'
            return _CANCELLED, f'"error":{error}', b""
        from .failure import Failure

        failure = Failure(err, self._container_id)
        _carefully("stderr", "write", failure.text)
        return _FAILURE, f'"error":{failure.error}' + (',"format":1' if failure.data else ""), failure.data

    def _after_fork(self) -> None:
        # A child that user code forks must neither answer for its parent nor hold the connection open.
        self._forked = True
        self._current = None
        self._channel.close()


def _flush() -> None:
    _carefully("stdout", "flush")
    _carefully("stderr", "flush")


def _carefully(stream: str, method: str, *args: object) -> None:
    try:
        getattr(getattr(sys, stream), method)(*args)
    except Exception:  # noqa: S110 - user code may have closed a stream, or put anything in its place
        pass
