"""Frames over a socket: a length, a kind, a JSON object and bytes."""

from __future__ import annotations

import json
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    Meta = dict[str, Any]

START, INPUT, INPUT_DATA, CANCEL, STOP = 1, 2, 3, 4, 5
READY, START_FAILED, OUTPUT, OUTPUT_DATA = 16, 17, 18, 19

# The most data one frame carries, in bytes; more goes into frames of its own kind behind it.
MAX_DATA = 1 << 20
# Values of at most this many bytes travel in their own frame.
MAX_INLINE = 512 << 10

_HEADER = Struct("<IBI")  # length of what follows it, kind, length of meta
_FIXED = 5  # what the length counts besides meta and data


class Connection:
    """Reads and writes frames. One thread uses it.

    Reading goes into one kept buffer: inside the sandbox every fresh large buffer costs an mmap and its page faults.
    """

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._buffer = bytearray(64 << 10)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def read(self) -> tuple[int, Meta, bytes] | None:
        """Return the next frame (kind, meta, data), or None at the end of the stream."""
        while (frame := self._buffered()) is None:
            if not self._fill():
                return None
        return frame

    def read_waiting(self) -> tuple[int, Meta, bytes] | None:
        """Return the next frame if one has arrived whole, else None."""
        self._sock.setblocking(False)
        try:
            while (frame := self._buffered()) is None:
                if not self._fill():
                    return None
            return frame
        except BlockingIOError:
            return None
        finally:
            self._sock.setblocking(True)

    def read_data(self, kind: int, size: int) -> bytearray:
        """Return the size bytes that follow in frames of a kind, read straight to where they belong."""
        whole = bytearray(size)
        view = memoryview(whole)
        at = 0
        while at < size:
            at += self._read_data_frame(kind, view[at:])
        return whole

    def _read_data_frame(self, kind: int, into: memoryview) -> int:
        while self._end - self._start < _HEADER.size:
            if not self._fill():
                raise EOFError("the stream ended inside a value")
        length, got, meta = _HEADER.unpack_from(self._buffer, self._start)
        size = length - _FIXED - meta
        if got != kind or meta or not 0 < size <= len(into):
            raise ValueError(f"frame of kind {got} with {size} bytes inside a value")
        self._start += _HEADER.size
        have = min(size, self._end - self._start)
        into[:have] = self._view[self._start : self._start + have]
        self._start += have
        while have < size:
            n = self._sock.recv_into(into[have:size])
            if not n:
                raise EOFError("the stream ended inside a value")
            have += n
        return size

    def _buffered(self) -> tuple[int, Meta, bytes] | None:
        have = self._end - self._start
        if have < _HEADER.size:
            return None
        length, kind, meta_length = _HEADER.unpack_from(self._buffer, self._start)
        if have < 4 + length:
            self._make_room(4 + length)
            return None
        at = self._start + _HEADER.size
        meta_end, end = at + meta_length, self._start + 4 + length
        meta: Meta = json.loads(self._buffer[at:meta_end]) if meta_length else {}
        data = bytes(self._view[meta_end:end])
        self._start = end
        return kind, meta, data

    def _make_room(self, size: int) -> None:
        """Have the buffer hold a frame of so many bytes."""
        if size <= len(self._buffer) - self._start:
            return
        rest = bytes(self._view[self._start : self._end])
        if size > len(self._buffer):
            self._view.release()
            self._buffer = bytearray(size)
            self._view = memoryview(self._buffer)
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _fill(self) -> int:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            self._make_room(len(self._buffer) - self._start + 1)
        n = self._sock.recv_into(self._view[self._end :])
        self._end += n
        return n

    def write(self, kind: int, meta: bytes, data: bytes = b"") -> None:
        """Send one frame."""
        self._sock.sendall(_HEADER.pack(_FIXED + len(meta) + len(data), kind, len(meta)) + meta + data)

    def write_data(self, kind: int, data: bytes) -> None:
        """Send bytes in as many frames of a kind as they need."""
        view = memoryview(data)
        for at in range(0, len(data), MAX_DATA):
            part = view[at : at + MAX_DATA]
            self._sock.sendall(_HEADER.pack(_FIXED + len(part), kind, 0))
            self._sock.sendall(part)
