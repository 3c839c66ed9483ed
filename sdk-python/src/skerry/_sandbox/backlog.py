"""Output that has come and is kept for who reads it later."""

from __future__ import annotations

import os
import tempfile
from typing import Any


class Backlog:
    """Bytes of one stream, by their offsets in it: in memory, or in a file without a name where nobody takes them.

    Not safe for use by several threads at a time.
    """

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._memory = bytearray()
        self._file: Any = None
        self._file_start = 0

    @property
    def in_memory(self) -> int:
        """How many bytes are in memory."""
        return len(self._memory)

    def append(self, data: bytes) -> None:
        """Keep what comes next."""
        if self._file is not None:
            os.pwrite(self._file.fileno(), data, self.end - self._file_start)
        else:
            self._memory += data
        self.end += len(data)

    def skip(self, size: int) -> None:
        """Count what comes next without keeping it, or anything before it."""
        self.end += size
        self.drop(self.end)

    def read(self, offset: int, most: int) -> bytes:
        """Return bytes from an offset on that is kept, or none at the end."""
        if self._file is not None:
            return os.pread(self._file.fileno(), min(most, self.end - offset), offset - self._file_start)
        begin = offset - self.start
        return bytes(self._memory[begin : begin + most])

    def drop(self, before: int) -> None:
        """Forget what lies before an offset."""
        if before <= self.start:
            return
        if self._file is None:
            del self._memory[: before - self.start]
        self.start = before
        if self._file is not None and before == self.end:
            self._file.close()
            self._file = None

    def spill(self) -> None:
        """Move what is kept, and what comes, out of memory."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="skerry-output-")  # noqa: SIM115 - closed when it is empty, or with this object
            self._file_start = self.start
            os.pwrite(self._file.fileno(), self._memory, 0)
            self._memory = bytearray()

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()
