"""Standard input of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._client.dual import dual
from skerry._gen.skerry.v1.process_pb import WriteProcessInputRequest
from skerry.exception import ConflictError

if TYPE_CHECKING:
    from .inside import Inside

# How much may wait for drain().
MAX_BUFFERED = 16 << 20
_CHUNK_BYTES = 1 << 20


class StreamWriter:
    r"""Standard input of a process, or of a sandbox's own command.

    ``write()`` only keeps what is to be written; ``drain()`` sends it::

        process.stdin.write("2 + 2\n")
        process.stdin.write_eof()
        process.stdin.drain()
    """

    def __init__(self, inside: Inside, process_id: str, *, fresh: bool) -> None:
        """Write to a process.

        Args:
            inside: where it is.
            process_id: its id.
            fresh: nobody else has written to it.
        """
        self._inside = inside
        self._process_id = process_id
        self._buffer = bytearray()
        self._offset: int | None = 0 if fresh else None
        self._eof = False
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        """Add data to what :meth:`drain` sends.

        Args:
            data: bytes, or text, which is sent as UTF-8.

        Raises ValueError after write_eof, BufferError where more than 16 MiB would wait, TypeError for other data.
        """
        self._inside.check()
        if self._eof:
            raise ValueError("Stdin is closed. Cannot write to it.")
        if isinstance(data, str):
            data = data.encode()
        elif not isinstance(data, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"data argument must be a bytes-like object or str, not {type(data).__name__}")
        if len(self._buffer) + len(data) > MAX_BUFFERED:
            raise BufferError("Buffer size exceed limit. Call drain to flush the buffer.")
        self._buffer += data

    def write_eof(self) -> None:
        """Have standard input closed after what was written; :meth:`drain` sends that as well."""
        self._inside.check()
        self._eof = True

    @dual
    async def drain(self) -> None:
        """Send what was written, and wait until the process's pipe has taken it.

        Raises ConflictError where the process takes no input any more.
        """
        self._inside.check()
        offset = self._offset
        if offset is None:
            offset = (await self._send(0, b"", eof=False)).offset
        while self._buffer or (self._eof and not self._closed):
            data = bytes(self._buffer[:_CHUNK_BYTES])
            eof = self._eof and len(data) == len(self._buffer)
            try:
                reached = (await self._send(offset, data, eof=eof)).offset
            except ConflictError:
                if data:
                    raise
                reached = offset  # it takes no more anyway
            del self._buffer[: min(max(reached - offset, 0), len(data))]
            self._offset = offset = reached
            self._closed = self._closed or eof

    async def _send(self, offset: int, data: bytes, *, eof: bool):  # noqa: ANN202 - the message's type is in the line below
        request = WriteProcessInputRequest(process_id=self._process_id, offset=offset, data=data, eof=eof)
        return await self._inside.ask(lambda: self._inside.aio.processes.write_process_input(request))
