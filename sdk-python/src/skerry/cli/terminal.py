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
    from collections.abc import Iterator

    from skerry._client.client import Client

_READ_BYTES = 64 << 10


def run_interactive(client: Client, start: ExecStart, *, pty: bool) -> int:
    """Run a command and return its exit code."""
    frames: SimpleQueue[ExecRequest | None] = SimpleQueue()
    if pty:
        start.pty = _size()
    frames.put(ExecRequest(start=start))
    threading.Thread(target=_read_stdin, args=(frames,), name="skerry-stdin", daemon=True).start()
    with _raw_terminal(frames) if pty else _plain():
        try:
            for response in client.stream(lambda: client.containers.exec(iter(frames.get, None))):
                _write(1, response.stdout)
                _write(2, response.stderr)
                if response.exit is not None:
                    return response.exit.code
        finally:
            frames.put(None)
    raise ServiceError("the connection ended before the command did")


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
def _plain() -> Iterator[None]:
    yield


@contextmanager
def _raw_terminal(frames: SimpleQueue[ExecRequest | None]) -> Iterator[None]:
    """Send every key to the command, Ctrl-C as well, and tell it when the window changes its size."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    settings = termios.tcgetattr(descriptor)
    previous = signal.signal(signal.SIGWINCH, lambda *_: frames.put(ExecRequest(resize=_size())))
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
        signal.signal(signal.SIGWINCH, previous)
