"""Standard output and error that say which input writes: docs/runner-protocol.md, Logs."""

from __future__ import annotations

import io
import os
import sys
from _thread import RLock

from . import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 64 << 10  # bytes of an unfinished line that are kept
# Events after which other processes may write to the standard streams.
_BEGINNINGS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})

_buffers: list[MarkedBuffer] = []
_streams: list[io.TextIOWrapper] = []


class MarkedBuffer(io.BufferedIOBase):
    """Writes lines to a descriptor, with a mark in front whenever another input writes than before."""

    mode = "wb"

    def __init__(self, fd: int, name: str) -> None:
        super().__init__()
        self.name = name
        self._fd = fd
        self._lock = RLock()  # a signal's handler may print in the middle of a print
        self._pending = bytearray()
        self._sending = False
        self._writer: context.InputContext | None = None  # of what is pending
        self._marked: context.InputContext | None = None  # the last one that was written
        os.register_at_fork(after_in_child=self._after_fork)

    def write(self, data: Any) -> int:
        """Take bytes. Lines go out when they are complete."""
        size = len(data)
        context.wrote = True
        with self._lock:
            writer = context.writer()
            if writer is not self._writer:
                self._send()
                self._writer = writer
            self._pending += data
            if b"\n" in data or len(self._pending) > _MOST:
                self._send()
        return size

    def flush(self) -> None:
        """Send an unfinished line as well."""
        if self._pending:
            with self._lock:
                self._send()

    def lend(self, writer: context.InputContext) -> None:
        """Have what others write to the descriptor from here on be the input's."""
        context.wrote = True
        with self._lock:
            self._send()
            if writer is not self._marked:
                self._put(self._mark(writer))

    def settle(self, writer: context.InputContext) -> None:
        """Send what an input that ends has left, and say that nothing after it is its own. The host ends an unfinished line there."""
        if self._writer is not writer and self._marked is not writer:
            return
        with self._lock:
            if self._writer is writer:
                self._send()
            if self._marked is writer:
                self._put(self._mark(None))

    def _send(self) -> None:
        """Send what is pending. A signal's handler in the middle of it leaves what it prints to whoever it has interrupted."""
        if self._sending:
            return
        self._sending = True
        try:
            while self._pending:
                fresh = bytearray()
                data, self._pending = self._pending, fresh  # no handler runs in between
                self._put(self._mark(self._writer) + data if self._writer is not self._marked else data)
        finally:
            self._sending = False

    def _mark(self, writer: context.InputContext | None) -> bytes:
        self._marked = writer
        names = f"{writer.call_id};{writer.index}" if writer is not None else ";"
        return f"\x1b]7770;{names}\a".encode()

    def _put(self, data: bytes | bytearray) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def _after_fork(self) -> None:
        # They may have been another thread's, which is not in the child.
        self._lock = RLock()
        self._sending = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Tell whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True


class MarkedStream(io.TextIOWrapper):
    """Text for a MarkedBuffer. Says that there is some, which may stay here for a while."""

    def write(self, text: str) -> int:
        """Take text."""
        context.wrote = True
        return super().write(text)


def flush() -> None:
    """Send what has been printed, as far as user code has left streams to flush."""
    for name in ("stdout", "stderr"):
        carefully(name, "flush")


def end_lines() -> None:
    """Hand on what has been printed of a line, for the next to print is somebody else."""
    for stream in _streams:
        try:  # noqa: SIM105 - contextlib is not imported before user code
            stream.flush()
        except (OSError, ValueError):  # user code has closed it
            pass


def carefully(stream: str, method: str, *args: object) -> None:
    """Call a method of a standard stream, whatever is in its place."""
    try:  # noqa: SIM105 - contextlib is not imported before user code
        getattr(getattr(sys, stream), method)(*args)
    except Exception:  # noqa: S110 - user code may have closed a stream, or put anything in its place
        pass


def _settle(writer: context.InputContext) -> None:
    for buffer in _buffers:
        try:  # noqa: SIM105 - contextlib is not imported before user code
            buffer.settle(writer)
        except OSError:  # user code has closed the descriptor
            pass


def _audit(event: str, _arguments: object) -> None:
    """Attribute the output of processes that the only running input starts: they write no marks."""
    if event in _BEGINNINGS and (writer := context.alone()) is not None:
        lend(writer)


def lend(writer: context.InputContext) -> None:
    """Have what is written past ``sys.stdout`` and ``sys.stderr`` from here on be the input's."""
    flush()  # a fork would copy an unfinished line
    for buffer in _buffers:
        try:  # noqa: SIM105 - contextlib is not imported before user code
            buffer.lend(writer)
        except OSError:  # user code has closed the descriptor
            pass


def install(together: bool) -> None:
    """Have print and whatever else writes to sys.stdout and sys.stderr say for which input.

    Where inputs run together, each piece of a line is handed on at once, for the next may be another input's.
    """
    context.on_leave = _settle
    sys.addaudithook(_audit)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        errors = "backslashreplace" if name == "stderr" else "surrogateescape"
        buffer = MarkedBuffer(fd, f"<{name}>")
        _buffers.append(buffer)
        stream = MarkedStream(
            buffer, encoding="utf-8", errors=errors, line_buffering=not together, write_through=together
        )
        _streams.append(stream)
        old.flush()
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
