"""The files of a sandbox."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from typing import TYPE_CHECKING, Any

from skerry._client.dual import dual, dual_iterator
from skerry._client.feed import Ready
from skerry._gen.skerry.v1 import filesystem_pb as pb
from skerry._run.policies import duration
from skerry._twin import twin
from skerry.exception import InvalidError
from skerry.types import FileInfo, FileWatchEvent, FileWatchEventType

from .faults import file_fault
from .transfer import read_parts, write_parts
from .values import file_event, file_event_filter, file_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from .inside import Inside

MAX_READ_BYTES = 1 << 30
_MAX_PATH_BYTES = 4096
_FILE_BYTES = 1 << 20


class SandboxFilesystem:
    """The files of a sandbox or a sidecar: ``sandbox.filesystem``. Paths in it are absolute, else InvalidError.

    ::

        sandbox.filesystem.write_text("print('hello')", "/work/hello.py")
        for file in sandbox.filesystem.list_files("/work"):
            print(file.name, file.size)

    Errors about files are :class:`skerry.exception.SandboxFilesystemError` and its kinds; NotFoundError is for a sandbox that is gone.
    """

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    @twin
    def read_bytes(self, remote_path: str) -> bytes:
        """Return what is in a file, of at most 1 GiB; SandboxFilesystemFileTooLargeError for a larger one."""
        return b"".join(read_parts(self._inside, check_remote(remote_path), MAX_READ_BYTES))

    @twin
    def read_text(self, remote_path: str) -> str:
        """Return what is in a file, as text in UTF-8; UnicodeDecodeError for what is not."""
        return b"".join(read_parts(self._inside, check_remote(remote_path), MAX_READ_BYTES)).decode()

    @twin
    def write_bytes(self, data: bytes | bytearray | memoryview, remote_path: str) -> None:
        """Make or replace a file. Missing directories above it are made. Nobody sees a part of it.

        Args:
            data: what is to be in it; TypeError for what are no bytes.
            remote_path: the file.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"data must be bytes, not {type(data).__name__}; use write_text for text")
        view = memoryview(data).cast("B")
        self._write(check_remote(remote_path), lambda: _cut(view))

    @twin
    def write_text(self, data: str, remote_path: str) -> None:
        """Make or replace a file with text in UTF-8; TypeError for what is no str. Otherwise like :meth:`write_bytes`."""
        if not isinstance(data, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"data must be str, not {type(data).__name__}; use write_bytes for bytes")
        view = memoryview(data.encode())
        self._write(check_remote(remote_path), lambda: _cut(view))

    @twin
    def copy_from_local(self, local_path: str | os.PathLike[str], remote_path: str) -> None:
        """Copy a local file into the sandbox, in parts: its size doesn't matter. A file that is there is replaced.

        Args:
            local_path: the file; FileNotFoundError, IsADirectoryError.
            remote_path: its path in the sandbox; missing directories above it are made. It gets the permission bits of the local file.
        """
        path = os.fspath(local_path)
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o777
            self._write(check_remote(remote_path), lambda: _parts_of(path), mode)

    @twin
    def copy_to_local(self, remote_path: str, local_path: str | os.PathLike[str]) -> None:
        """Copy a file of the sandbox to a local path, in parts: its size doesn't matter. A local file that is there is replaced at the end.

        Args:
            remote_path: the file.
            local_path: its local path; missing folders above it are made.
        """
        path = os.fspath(local_path)
        parts = read_parts(self._inside, check_remote(remote_path), 0)
        first = next(parts, b"")  # before anything is made here
        folder = os.path.dirname(os.path.abspath(path))
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(first)
                file.writelines(parts)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    @dual
    async def list_files(self, remote_path: str) -> list[FileInfo]:
        """Return what is in a directory, by name."""
        request = pb.ListFilesRequest(path=check_remote(remote_path))

        async def collect() -> list[FileInfo]:
            return [file_info(file) async for part in self._inside.aio.files.list_files(request) for file in part.files]

        return await self._inside.ask(collect, fault=file_fault)

    @dual
    async def stat(self, remote_path: str) -> FileInfo:
        """Describe a file; a symbolic link itself, not what it leads to."""
        request = pb.StatFileRequest(path=check_remote(remote_path))
        answer = await self._inside.ask(lambda: self._inside.aio.files.stat_file(request), fault=file_fault)
        return file_info(answer.info or pb.FileInfo())

    @dual
    async def make_directory(self, remote_path: str, *, create_parents: bool = True) -> None:
        """Make a directory.

        Args:
            remote_path: its path.
            create_parents: make missing ones above it, and don't mind if it is there; False: what is above must be there and it must
                not, else SandboxFilesystemNotFoundError and SandboxFilesystemPathAlreadyExistsError.
        """
        request = pb.MakeDirectoryRequest(path=check_remote(remote_path), make_parents=create_parents)
        await self._inside.ask(lambda: self._inside.aio.files.make_directory(request), fault=file_fault)

    @dual
    async def remove(self, remote_path: str, *, recursive: bool = False) -> None:
        """Remove a file, a link itself, or a directory.

        Args:
            remote_path: its path.
            recursive: a directory with all that is in it; else SandboxFilesystemDirectoryNotEmptyError for one that is not empty.
        """
        request = pb.RemoveFileRequest(path=check_remote(remote_path), recursive=recursive)
        await self._inside.ask(lambda: self._inside.aio.files.remove_file(request), fault=file_fault)

    @dual
    async def move(self, remote_path: str, new_path: str) -> None:
        """Rename a file or directory; a file that is at the new path is replaced."""
        request = pb.MoveFileRequest(path=check_remote(remote_path), new_path=check_remote(new_path))
        await self._inside.ask(lambda: self._inside.aio.files.move_file(request), fault=file_fault)

    @dual
    async def change(
        self, remote_path: str, *, mode: int | None = None, owner: str | None = None, group: str | None = None
    ) -> FileInfo:
        """Set permission bits, owner or group; what is None stays as it is. A link is followed.

        Args:
            remote_path: the file.
            mode: such as 0o755.
            owner: name or number.
            group: name or number.
        """
        if mode is not None and not 0 <= mode <= 0o7777:
            raise InvalidError(f"mode {mode!r}: want permission bits, such as 0o755")
        request = pb.ChangeFileRequest(
            path=check_remote(remote_path), mode=mode, owner=str(owner or ""), group=str(group or "")
        )
        answer = await self._inside.ask(lambda: self._inside.aio.files.change_file(request), fault=file_fault)
        return file_info(answer.info or pb.FileInfo())

    @dual_iterator
    async def watch(
        self,
        remote_path: str,
        *,
        filter: Sequence[FileWatchEventType] | None = None,  # noqa: A002 - the reference's name
        recursive: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[FileWatchEvent | Ready]:
        """Iterate over what happens to files, from the call on.

        Args:
            remote_path: a file or a directory.
            filter: only these kinds of events; None: all.
            recursive: with all directories below.
            timeout: end after so many seconds; None: go on until the loop is left.

        A rename is one Modify event with the old and the new path. After a lost connection the first event is of the kind Unknown: look
        yourself.
        """
        from .watching import watch

        async for response in watch(self._inside, watch_request(remote_path, filter, recursive, timeout), timeout):
            yield response if isinstance(response, Ready) else file_event(response)

    def _write(self, path: str, parts: Any, mode: int = 0) -> None:
        write_parts(self._inside, pb.WriteFileStart(path=path, make_parents=True, mode=mode), parts)


def watch_request(
    remote_path: str, wanted: Sequence[FileWatchEventType] | None, recursive: bool, timeout: float | None
) -> pb.WatchFilesRequest:
    """Return a request to watch files. Raises InvalidError."""
    if timeout is not None and (isinstance(timeout, bool) or timeout <= 0):
        raise InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
    request = pb.WatchFilesRequest(
        path=check_remote(remote_path),
        recursive=recursive,
        filter=[file_event_filter(FileWatchEventType(each)) for each in wanted or ()],
    )
    if timeout is not None:
        request.timeout = duration(timeout)
    return request


def check_remote(path: Any) -> str:
    """Return a path in a sandbox. Raises InvalidError unless it is absolute."""
    if isinstance(path, os.PathLike):
        path = os.fspath(path)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidError(f"remote path {path!r}: want an absolute one, such as '/work/data.csv'")
    if "\0" in path or len(path.encode("utf-8", "replace")) > _MAX_PATH_BYTES:
        raise InvalidError(f"remote path {path[:80]!r}: has a NUL character or more than {_MAX_PATH_BYTES:,} bytes")
    return path


def _cut(view: memoryview) -> Iterable[bytes]:
    for start in range(0, len(view), _FILE_BYTES):
        yield bytes(view[start : start + _FILE_BYTES])


def _parts_of(path: str) -> Iterable[bytes]:
    with open(path, "rb") as file:
        while part := file.read(_FILE_BYTES):
            yield part


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
