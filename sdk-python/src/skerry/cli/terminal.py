"""Joins this process's standard input, output and error, or its terminal, to a command in a container."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.container_pb import ExecRequest, ExecStart, TerminalSize
from skerry.exception import ServiceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from skerry._client.client import Client

_READ_BYTES = 64 << 10


def run_interactive(client: Client, start: ExecStart, *, pty: bool) -> int:
    """Run a command and return its exit code."""
    frames: SimpleQueue[ExecRequest | None] = SimpleQueue()
    if pty:
        start.pty = _size()
    frames.put(ExecRequest(start=start))
    threading.Thread(target=_read_stdin, args=(frames,), name="skerry-stdin", daemon=True).start()
    code: int | None = None
    with _raw_terminal(frames) if pty else _plain():
        try:
            for response in client.stream(lambda: client.containers.exec(iter(frames.get, None))):
                _write(1, response.stdout)
                _write(2, response.stderr)
                if response.exit is not None:
                    code = response.exit.code
                    # The stream is read to its end: a transport that still reads the requests when the interpreter ends crashes it.
                    frames.put(None)
        finally:
            frames.put(None)
    if code is None:
        raise ServiceError("the connection ended before the command did")
    return code


def _read_stdin(frames: SimpleQueue[ExecRequest | None]) -> None:
    while data := os.read(0, _READ_BYTES):
        frames.put(ExecRequest(stdin=data))
    frames.put(ExecRequest(stdin_eof=True))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _size() -> TerminalSize:
    columns, rows = shutil.get_terminal_size()
    return TerminalSize(rows=rows, cols=columns)


@contextmanager
def _plain() -> Generator[None, None, None]:
    yield


@contextmanager
def _raw_terminal(frames: SimpleQueue[ExecRequest | None]) -> Generator[None, None, None]:
    """Send every key to the command, Ctrl-C as well, and tell it when the window changes its size."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    settings = termios.tcgetattr(descriptor)

    def resized(_signal: int, _frame: object) -> None:
        frames.put(ExecRequest(resize=_size()))

    previous = signal.signal(signal.SIGWINCH, resized)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
        signal.signal(signal.SIGWINCH, previous)
