"""Open files of a sandbox. Deprecated."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from skerry._twin import twin
from skerry.exception import (
    FilesystemExecutionError,
    SandboxFilesystemNotFoundError,
    SandboxFilesystemPathAlreadyExistsError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from .files import SandboxFilesystem

T = TypeVar("T", str, bytes)

MAX_READ_BYTES = 100 << 20
MAX_WRITE_BYTES = 1 << 30
_MODES = frozenset({"r", "w", "a", "x"})


class FileIO(Generic[T]):
    """An open file of a sandbox: ``sandbox.open(path)``. Deprecated: use ``sandbox.filesystem``.

    The file is read when it is opened and written by ``flush`` and ``close``.
    """

    def __init__(self, files: SandboxFilesystem, path: str, mode: str) -> None:
        kind = mode.replace("b", "").replace("t", "").replace("+", "")
        if kind not in _MODES or len(set(mode)) != len(mode):
            raise ValueError(f"Invalid mode: {mode}")
        self._files = files
        self._path = path
        self._binary = "b" in mode
        self._readable = kind == "r" or "+" in mode
        self._writable = kind != "r" or "+" in mode
        self._append = kind == "a"
        self._changed = False
        self._data = io.BytesIO(self._begin(kind))
        if self._append:
            self._data.seek(0, io.SEEK_END)
        self.closed = False

    def _begin(self, kind: str) -> bytes:
        if kind in ("r", "a"):
            try:
                return self._files.read_bytes(self._path)
            except SandboxFilesystemNotFoundError:
                if kind == "r":
                    raise FileNotFoundError(f"{self._path}: no such file in the sandbox") from None
        elif kind == "x":
            try:
                self._files.stat(self._path)
            except SandboxFilesystemNotFoundError:
                pass
            else:
                raise SandboxFilesystemPathAlreadyExistsError(f"{self._path}: is there already")
        self._files.write_bytes(b"", self._path)
        return b""

    @twin
    def read(self, n: int | None = None) -> T:
        """Return the next n bytes or characters, or the rest. At most 100 MiB."""
        self._check(self._readable, "readable")
        place = self._data.tell()
        if not self._binary and n is not None:
            text = self._data.read().decode()[:n]
            self._data.seek(place + len(text.encode()))
            return cast("T", text)
        data = self._data.read() if n is None else self._data.read(n)
        if len(data) > MAX_READ_BYTES:
            self._data.seek(place)
            raise ValueError("Size of requested read exceeds the limit of 100 MiB")
        return self._form(data)

    @twin
    def readline(self) -> T:
        """Return the next line."""
        self._check(self._readable, "readable")
        return self._form(self._data.readline())

    @twin
    def readlines(self) -> Sequence[T]:
        """Return the lines that are left."""
        self._check(self._readable, "readable")
        return [self._form(line) for line in self._data.readlines()]

    @twin
    def write(self, data: bytes | str) -> None:
        """Write. At most 1 GiB."""
        self._check(self._writable, "writable")
        if isinstance(data, str) == self._binary:
            raise TypeError(f"want {'bytes' if self._binary else 'str'}, got {type(data).__name__}")
        raw = data.encode() if isinstance(data, str) else data
        if self._append:
            self._data.seek(0, io.SEEK_END)
        if self._data.tell() + len(raw) > MAX_WRITE_BYTES:
            raise ValueError("Size of requested write exceeds the limit of 1 GiB")
        self._data.write(raw)
        self._changed = True

    @twin
    def flush(self) -> None:
        """Write what was written to the sandbox."""
        self._check(True, "")
        self._flush()

    @twin
    def seek(self, offset: int, whence: int = 0) -> None:
        """Go to a place: from the beginning (0), from here (1) or from the end (2)."""
        self._check(True, "")
        self._data.seek(offset, whence)

    @twin
    def close(self) -> None:
        """Write what was written to the sandbox, and be done with the file."""
        if not self.closed:
            self._flush()
            self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close.aio()

    def _flush(self) -> None:
        if self._changed:
            self._files.write_bytes(self._data.getvalue(), self._path)
            self._changed = False

    def _check(self, allowed: bool, what: str) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not allowed:
            raise FilesystemExecutionError(f"{self._path}: the file is not {what}: it was opened in another mode")

    def _form(self, data: bytes) -> Any:
        return data if self._binary else data.decode()


def open_file(files: SandboxFilesystem, path: str, mode: str) -> FileIO[Any]:
    """Open a file. Raises FileNotFoundError, ValueError for a mode there is not."""
    return FileIO(files, path, mode)
