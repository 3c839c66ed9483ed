"""Joins this process's standard input, output and error, or its terminal, to a command in a container."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.container_pb import ExecRequest, TerminalSize
from skerry.exception import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.container_pb import ExecResponse, ExecStart

_READ_BYTES = 64 << 10
# How many pieces of output wait for a slow terminal.
_MAX_WAITING = 100


def attach(client: Client, start: ExecStart, *, pty: bool) -> int:
    """Run a command to its end and return its exit code. With ``pty`` every key goes to it, Ctrl-C as well.

    Raises NotFoundError for a container that does not run, ServiceError where the connection ends before the command.
    """
    attachment = Attachment(client, start)
    if not pty:
        return attachment.run()
    with on_resize(attachment.resize):
        return attachment.run_on_terminal()


class Attachment:
    """One command in a container that has our standard streams."""

    def __init__(self, client: Client, start: ExecStart) -> None:
        self._client = client
        self._start = start
        self._frames: SimpleQueue[ExecRequest | None] = SimpleQueue()

    def run(self) -> int:
        """Run the command with pipes."""
        return self._run()

    def run_on_terminal(self) -> int:
        """Run the command with a terminal as large as ours, which is raw meanwhile."""
        self._start.pty = _size()
        with raw_terminal():
            return self._run()

    def resize(self) -> None:
        """Tell the command how large the terminal is now. May be called from a signal handler."""
        self._frames.put(ExecRequest(resize=_size()))

    def _run(self) -> int:
        frames = self._frames
        frames.put(ExecRequest(start=self._start))
        code: int | None = None
        with read_stdin(lambda data: frames.put(_input(data))):
            try:
                for response in self._responses():
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

    def _responses(self) -> Iterator[ExecResponse]:
        """Yield what comes, from a thread that waits for it: no signal, such as Ctrl-C's, wakes one that waits for the server."""
        client = self._client
        received: SimpleQueue[ExecResponse | BaseException | None] = SimpleQueue()
        room = threading.Semaphore(_MAX_WAITING)

        def receive() -> None:
            try:
                for response in client.stream(lambda: client.containers.exec(self._requests())):
                    room.acquire()
                    received.put(response)
                received.put(None)
            except BaseException as err:  # raised below
                received.put(err)

        threading.Thread(target=receive, name="skerry-exec", daemon=True).start()
        while (response := received.get()) is not None:
            if isinstance(response, BaseException):
                raise response
            room.release()
            yield response

    def _requests(self) -> Iterator[ExecRequest]:
        return iter(self._frames.get, None)


@contextmanager
def on_resize(call: Callable[[], None]) -> Generator[None, None, None]:
    """Have a function called, by a signal handler, when the terminal's window changes its size. Only the main thread can ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGWINCH, lambda _signal, _frame: call())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


@contextmanager
def read_stdin(send: Callable[[bytes | None], None]) -> Generator[None, None, None]:
    """Send what comes from standard input, and None at its end, until the block ends. What comes after that is left for others."""
    with ExitStack() as stack:
        ended, end = os.pipe()
        stack.callback(os.close, ended)

        def read() -> None:
            while True:
                ready, _, _ = select.select([0, ended], [], [])
                if ended in ready:
                    return
                data = os.read(0, _READ_BYTES)
                if not data:
                    break
                send(data)
            send(None)

        reader = threading.Thread(target=read, name="skerry-stdin", daemon=True)
        reader.start()
        stack.callback(reader.join)
        stack.callback(os.close, end)
        yield


def _input(data: bytes | None) -> ExecRequest:
    return ExecRequest(stdin_eof=True) if data is None else ExecRequest(stdin=data)


@contextmanager
def raw_terminal() -> Generator[None, None, None]:
    """Have every key at once and as it is, Ctrl-C as well, if standard input is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    settings = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _size() -> TerminalSize:
    columns, rows = shutil.get_terminal_size()
    return TerminalSize(rows=rows, cols=columns)
