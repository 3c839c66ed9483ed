"""Gives user code the terminal of the client that runs it with ``skerry run -i``."""

from __future__ import annotations

import os
import socket
import sys

from . import context, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


class Terminal:
    """A terminal in place of the standard streams, until it is given back."""

    def __init__(self) -> None:
        path = f"/tmp/.skerry-terminal-{os.getpid()}"  # noqa: S108 - nobody else is in the container
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            try:
                listener.listen(1)
                if (writer := context.writer()) is not None:
                    streams.lend(writer)
                os.write(2, f"\x1b]7771;{path}\a".encode())
                self._connection, _ = listener.accept()
            finally:
                os.unlink(path)
        name = self._connection.makefile("rb").readline().decode().strip()
        terminal = os.open(name, os.O_RDWR)
        self._saved = [(fd, os.dup(fd)) for fd in (0, 1, 2)]
        self._streams = sys.stdin, sys.stdout, sys.stderr
        for fd in (0, 1, 2):
            os.dup2(terminal, fd)
        os.close(terminal)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - closed with the terminal
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115

    def close(self) -> None:
        """Give the terminal back."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for fd, saved in self._saved:
            os.dup2(saved, fd)
            os.close(saved)
        self._connection.close()


_terminal: Terminal | None = None


def attach() -> None:
    """Have the client's terminal until the input ends. Does nothing where it is there already."""
    global _terminal  # noqa: PLW0603 - one per process
    if _terminal is None:
        _terminal = Terminal()


def is_attached() -> bool:
    """Tell whether the running input has it."""
    return _terminal is not None


def detach() -> None:
    """Give it back."""
    global _terminal
    if _terminal is not None:
        terminal, _terminal = _terminal, None
        terminal.close()


def breakpoint_hook(*_args: object, **_kwargs: object) -> None:
    """Open the debugger on the client's terminal; in place of ``sys.breakpointhook``."""
    import pdb  # noqa: T100 - what was asked for

    attach()
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    debugger = pdb.Pdb(stdin=sys.stdin, stdout=sys.stdout)
    debugger.prompt = "(pdb) "
    debugger.set_trace(frame)
