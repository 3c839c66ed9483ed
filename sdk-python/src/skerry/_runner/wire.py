"""Frames of the runner protocol over a socket."""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

# The kinds of frames; docs/runner-protocol.md says what they carry.
START, INPUT, INPUT_DATA, CANCEL, STOP, WITHDRAW, BATCH = 1, 2, 3, 4, 5, 6, 7
READY, START_FAILED, OUTPUT, OUTPUT_DATA, WITHDRAWN, ITEM, SLOTS, LEAVING = 16, 17, 18, 19, 20, 21, 22, 23

MAX_META = 1 << 20
MAX_DATA = 1 << 20
MAX_INLINE = 512 << 10
_HEAD = 9
_HEADER = Struct("<IBI")  # length, kind, length of meta
_DONTWAIT = 0x40  # MSG_DONTWAIT of Linux


class ProtocolError(Exception):
    """The host sent what no host sends."""


def _codec() -> tuple[Callable[[str], Any], Callable[[str], str]]:
    """Return a decoder of JSON objects and a quoter of JSON strings; without the json package, which imports re."""
    try:
        from _json import encode_basestring_ascii, make_scanner
    except ImportError:
        import json

        return json.loads, json.dumps

    class Options:
        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float
        memo: dict[str, str] = {}  # noqa: RUF012 - the scanner wants this shape

    options: Any = Options
    scan = make_scanner(options)
    return lambda text: scan(text, 0)[0], encode_basestring_ascii


decode, quote = _codec()


class Channel:
    """One end of the protocol, for one thread; and for its signal handlers while it is in none of these methods."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        # Kept for good: receiving into fresh memory costs a sandbox a mapping each time.
        self._buffer = bytearray(64 << 10)
        self._view = memoryview(self._buffer)
        self._start: int = 0
        self._end: int = 0
        self._held: list[bytes] = []
        self.held_bytes = 0

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def read(self) -> tuple[int, dict[str, Any], bytes | bytearray] | None:
        """Wait for the next frame and return its kind, meta and data; None at the end of the connection.

        The data of a large payload, which further frames carry, is put together.
        """
        if not self._fill(_HEAD):
            return None
        length, kind, meta_length = _HEADER.unpack_from(self._buffer, self._start)
        data_length = length - 5 - meta_length
        if meta_length > MAX_META or not 0 <= data_length <= MAX_DATA:
            raise ProtocolError(f"a frame of kind {kind} has the length {length} and meta of {meta_length}")
        self._require(4 + length)
        start = self._start + _HEAD
        meta: dict[str, Any] = decode(str(self._view[start : start + meta_length], "utf-8")) if meta_length else {}
        start += meta_length
        data: bytes | bytearray = bytes(self._view[start : start + data_length])
        self._start = start + data_length
        if size := meta.get("blob_size"):
            data = self._read_blob(size)
        return kind, meta, data

    def _read_blob(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        at = 0
        while at < size:
            self._require(_HEAD)
            start = self._start
            length = int.from_bytes(self._view[start : start + 4], "little")
            kind = self._buffer[start + 4]
            n = length - 5
            if kind != INPUT_DATA or not 0 < n <= min(MAX_DATA, size - at):
                raise ProtocolError(f"a frame of kind {kind} and length {length} in the middle of a payload")
            self._start += _HEAD
            have = min(n, self._end - self._start)
            view[at : at + have] = self._view[self._start : self._start + have]
            self._start += have
            while have < n:
                got = self._sock.recv_into(view[at + have : at + n], 0)
                if not got:
                    raise ProtocolError("the connection ended in the middle of a payload")
                have += got
            at += n
        return data

    def _require(self, n: int) -> None:
        if not self._fill(n):
            raise ProtocolError("the connection ended in the middle of a frame")

    def _fill(self, n: int) -> bool:
        """Receive until n bytes are there; False if the connection ends before the first."""
        if self._end - self._start >= n:
            return True
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + n > len(self._buffer):
            self._view[: self._end - self._start] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, self._end - self._start
        if n > len(self._buffer):
            self._grow(n)
        while self._end - self._start < n:
            got = self._sock.recv_into(self._view[self._end :], 0)
            if not got:
                if self._end > self._start:
                    raise ProtocolError("the connection ended in the middle of a frame")
                return False
            self._end += got
        return True

    def _grow(self, n: int) -> None:
        larger = bytearray(n)
        larger[: self._end] = self._view[: self._end]
        self._buffer, self._view = larger, memoryview(larger)

    def buffered(self) -> bool:
        """Tell whether ``read`` will return a frame that has arrived already."""
        have = self._end - self._start
        return have >= _HEAD and have >= 4 + int.from_bytes(self._view[self._start : self._start + 4], "little")

    def arrived(self) -> list[tuple[int, dict[str, Any], bytes | bytearray]]:
        """Return the frames that are there, without waiting."""
        frames: list[tuple[int, dict[str, Any], bytes | bytearray]] = []
        while True:
            while self.buffered():
                frame = self.read()
                if frame is not None:
                    frames.append(frame)
            rest = self._end - self._start
            if rest == len(self._buffer):
                return frames  # a frame larger than what is sent while an input runs
            if self._start:
                self._view[:rest] = bytes(self._view[self._start : self._end])
                self._start, self._end = 0, rest
            try:
                got = self._sock.recv_into(self._view[self._end :], 0, _DONTWAIT)
            except OSError:
                return frames  # nothing is there, or the connection is broken, which read will find
            if not got:
                return frames
            self._end += got

    def hold(self, kind: int, meta: str, data: bytes = b"") -> None:
        """Have a frame sent with the next ``flush``. Data is at most MAX_INLINE."""
        frame = _frame(kind, meta, data)
        self._held.append(frame)
        self.held_bytes += len(frame)

    def flush(self) -> None:
        """Send what is held."""
        if held := self._held:
            self._held = []
            self.held_bytes = 0
            self._sock.sendall(held[0] if len(held) == 1 else b"".join(held))

    def send(self, kind: int, meta: str, data: bytes | memoryview = b"") -> None:
        """Send one frame, before those that are held.

        Data over MAX_INLINE goes out in frames of its own; payload_meta announces it.
        """
        if len(data) <= MAX_INLINE:
            self._sock.sendall(_frame(kind, meta, data))
            return
        self._sock.sendall(_frame(kind, meta, b""))
        view = memoryview(data)
        for at in range(0, len(view), MAX_DATA):
            part = view[at : at + MAX_DATA]
            self._sock.sendall((5 + len(part)).to_bytes(4, "little") + bytes((OUTPUT_DATA, 0, 0, 0, 0)))
            self._sock.sendall(part)


def _frame(kind: int, meta: str, data: bytes | memoryview) -> bytes:
    encoded = meta.encode("ascii")
    return b"".join((_HEADER.pack(5 + len(encoded) + len(data), kind, len(encoded)), encoded, data))


def payload_meta(data: bytes, format_: int = 1) -> str:
    """Return the meta members that describe a payload; the format is a pickle unless it is said."""
    return f'"format":{format_}' if len(data) <= MAX_INLINE else f'"format":{format_},"blob_size":{len(data)}'
