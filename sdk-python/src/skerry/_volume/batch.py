"""Uploads of many files at once."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from skerry._client.direct import direct, in_thread
from skerry.exception import InvalidError

from .paths import remote_file, volume_path
from .sources import FileObject, LocalFile, walk
from .uploading import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePath, PurePosixPath
    from types import TracebackType

    from typing_extensions import Self

    from skerry._client.client import Client

    from .files import Files
    from .sources import Source

    LocalPath = str | PurePath
    RemotePath = str | PurePosixPath


class BatchUpload:
    """Files that go into a volume together, when the ``with`` or ``async with`` block ends without an error.

    Nothing is sent before. All of it becomes one version of the volume, or nothing does.
    """

    def __init__(self, volume: Files, force: bool, progress: Callable[[int, int], None] | None = None) -> None:
        self._volume = volume
        self._force = force
        self._progress = progress
        self._put: list[Callable[[], Iterator[Source]]] = []

    def put_file(self, local_file: LocalPath | IO[bytes], remote_path: RemotePath, mode: int | None = None) -> None:
        """Put a file.

        Args:
            local_file: its path, or a file object, which is read from where it stands when the block ends.
            remote_path: where it is to be in the volume; ValueError where that ends with a slash.
            mode: permission bits. Default: those of the local file, 0o644 for a file object.
        """
        remote = remote_file(remote_path)
        if mode is not None and not 0 <= mode <= 0o7777:
            raise InvalidError(f"mode {mode:o}: want permission bits, 0 to 0o7777")
        if isinstance(local_file, (str, os.PathLike)):
            source: Source = LocalFile(os.fspath(local_file), remote, mode)
        elif isinstance(local_file, io.TextIOBase):
            raise InvalidError("put_file: the file object gives text; open it in binary mode")
        else:
            source = FileObject(local_file, remote, mode)
        self._put.append(lambda: iter([source]))

    def put_directory(self, local_path: LocalPath, remote_path: RemotePath, recursive: bool = True) -> None:
        """Put what is in a local folder.

        Symbolic links that lead to something in the folder stay links; of others that lead to files, the files are put.

        Args:
            local_path: the folder.
            remote_path: the folder of the volume into which its content goes; made where it is not there.
            recursive: with the folders in it.
        """
        local, remote = Path(local_path), volume_path(remote_path)
        self._put.append(lambda: walk(local, remote, recursive))

    def __enter__(self) -> Self:
        self._volume._check_writable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._finish.aio()

    @direct
    async def _finish(self) -> None:
        client, volume_id = await self._volume._ready()
        await in_thread(self._upload, client, volume_id)

    def _upload(self, client: Client, volume_id: str) -> None:
        upload = Upload(client, volume_id, force=self._force, progress=self._progress)
        upload.run(source for each in self._put for source in each())

    def __repr__(self) -> str:
        return f"<upload of {len(self._put)} files and folders to {self._volume!r}>"
