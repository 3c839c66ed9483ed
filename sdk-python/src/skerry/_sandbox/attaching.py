"""Joins this process's standard streams, or its terminal, to a process in a sandbox."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client import background
from skerry._run.attach import on_resize, raw_terminal, read_stdin

from .output import Output

if TYPE_CHECKING:
    from .process import ContainerProcess


def attach(process: ContainerProcess[Any]) -> int:
    """Join until the process ends, and return its exit code. On a terminal every key goes to it, Ctrl-C as well."""
    process._output.leave()  # its frames come here from now on
    output = Output(process._inside, process.process_id, sinks=(_to(1), _to(2)))
    joined = _Joined(process, output)
    if not sys.stdin.isatty():
        return joined.run()
    joined.resize()
    with on_resize(joined.resize), raw_terminal():
        return joined.run()


class _Joined:
    """A process that has our standard streams."""

    def __init__(self, process: ContainerProcess[Any], output: Output) -> None:
        self._process = process
        self._output = output
        self._left = False

    def resize(self) -> None:
        """Tell the process how large the terminal is now. May be called from a signal handler."""
        columns, rows = shutil.get_terminal_size()
        background.submit(self._resize(rows, columns))

    def run(self) -> int:
        """Wait for its end."""
        inputs: asyncio.Queue[bytes | None] = background.run(_queue())
        room = threading.Semaphore(16)

        def send(data: bytes | None) -> None:
            room.acquire()
            if self._left:
                return
            background.loop().call_soon_threadsafe(inputs.put_nowait, data)

        writing = background.submit(self._write(inputs, room))
        try:
            with read_stdin(send):
                try:
                    return background.run(self._wait())
                finally:
                    self._leave(room)
        finally:
            writing.cancel()

    def _leave(self, room: threading.Semaphore) -> None:
        """Have who reads standard input wait for nothing."""
        self._left = True
        room.release()

    async def _wait(self) -> int:
        output = self._output
        while True:
            changed = output.changed
            if not output.is_drawn and output.error is not None:
                raise output.error
            if output.code is not None and not output.is_drawn:
                return output.code
            output.draw()
            await changed.wait_aio()

    async def _write(self, inputs: asyncio.Queue[bytes | None], room: threading.Semaphore) -> None:
        stdin = self._process.stdin
        while True:
            data = await inputs.get()
            room.release()
            if data is None:
                stdin.write_eof()
            else:
                stdin.write(data)
            try:
                await stdin.drain.aio()
            except exc.ConflictError:
                return  # it takes no more
            if data is None:
                return

    async def _resize(self, rows: int, columns: int) -> None:
        try:
            await self._process.resize.aio(rows, columns)
        except exc.Error:
            return  # it has ended, or has no terminal


async def _queue() -> asyncio.Queue[Any]:
    return asyncio.Queue()


def _to(descriptor: int) -> Any:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write
