"""What is done with the files of a volume."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING, Any, TypeVar

from protobuf import Oneof

from skerry import exception as exc
from skerry._client.direct import direct, drive, in_thread
from skerry._gen.skerry.v1 import volume_change_pb as changes
from skerry._twin import generator_twin

from .batch import BatchUpload
from .paths import no_pattern, volume_path
from .reading import file_entry, list_entries, read_parts
from .uploading import change, request_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence

    from skerry._client.client import Client

    from .values import FileEntry

T = TypeVar("T")


class Files:
    """The part of a :class:`skerry.Volume` that concerns its files."""

    if TYPE_CHECKING:

        async def _ready(self) -> tuple[Client, str]: ...
        def _check_writable(self) -> None: ...

    @generator_twin
    def iterdir(self, path: str, *, recursive: bool = True) -> Generator[FileEntry]:
        """Yield what is in a folder, in the order of paths; of a file, the file.

        Args:
            path: the folder, from the volume's root.
            recursive: with the folders in it.

        Raises FileNotFoundError, InvalidError for patterns.
        """
        client, volume_id = drive(self._ready())
        for entry in list_entries(client, volume_id, no_pattern(path), recursive):
            yield file_entry(entry)

    @iterdir.native
    async def _iterdir(self, path: str, *, recursive: bool = True) -> AsyncIterator[FileEntry]:
        async for entry in _in_threads(lambda: self.iterdir._blocking(self, path, recursive=recursive)):
            yield entry

    @direct
    async def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a folder, in the order of paths; of a file, the file. The arguments are as in :meth:`iterdir`."""
        client, volume_id = await self._ready()
        inside = no_pattern(path)
        found = await in_thread(lambda: list(list_entries(client, volume_id, inside, recursive)))
        return [file_entry(entry) for entry in found]

    @generator_twin
    def read_file(self, path: str) -> Generator[bytes]:
        """Yield the content of a file, in pieces of up to 8 MiB, of one version. Raises FileNotFoundError."""
        client, volume_id = drive(self._ready())
        for part in read_parts(client, volume_id, volume_path(path)):
            yield bytes(part)

    @read_file.native
    async def _read_file(self, path: str) -> AsyncIterator[bytes]:
        async for part in _in_threads(lambda: self.read_file._blocking(self, path)):
            yield part

    @direct
    async def read_file_into_fileobj(
        self, path: str, fileobj: IO[bytes], progress_cb: Callable[..., Any] | None = None
    ) -> int:
        """Write the content of a file to a file object, and return how many bytes that were.

        Args:
            path: the file, from the volume's root.
            fileobj: is written to from where it stands.
            progress_cb: is called with ``advance``, bytes that were written.

        Raises FileNotFoundError.
        """
        client, volume_id = await self._ready()
        inside = volume_path(path)

        def copy() -> int:
            written = 0
            for part in read_parts(client, volume_id, inside):
                fileobj.write(part)
                written += len(part)
                if progress_cb is not None:
                    progress_cb(advance=len(part))
            return written

        return await in_thread(copy)

    @direct
    async def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or a folder.

        Args:
            path: from the volume's root.
            recursive: a folder with all that is in it.

        Raises FileNotFoundError; ConflictError for a folder that is not empty, without ``recursive``.
        """
        removal = changes.VolumeRemove(path=volume_path(path), recursive=recursive)
        await self._change([changes.VolumeChange(kind=Oneof("remove", removal))])

    @direct
    async def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        """Copy files within the volume, as cp does: into the destination where that is a folder. No bytes are moved for it.

        Args:
            src_paths: what to copy; several need a folder as destination.
            dst_path: where to.
            recursive: folders with all that is in them.

        Raises FileNotFoundError, ConflictError.
        """
        if isinstance(src_paths, str):  # pyright: ignore[reportUnnecessaryIsInstance] - who calls may not check types
            raise exc.InvalidError("copy_files: src_paths is a list of paths")
        destination = volume_path(dst_path)
        several = len(src_paths) > 1
        copies = [
            changes.VolumeCopy(source=volume_path(source), destination=destination, recursive=recursive)
            for source in src_paths
        ]
        if several:
            await self._check_folder(destination)
        if copies:
            await self._change([changes.VolumeChange(kind=Oneof("copy", each)) for each in copies])

    def batch_upload(self, force: bool = False) -> BatchUpload:
        """Return an upload of many files, for a ``with`` or ``async with`` block.

        All of them are in the volume once the block has ended without an error; before, or after one, none is.

        Args:
            force: replace files that are there; without it, FileExistsError is raised at the end of the block.
        """
        self._check_writable()
        return BatchUpload(self, force)

    # Inside the package.

    async def _change(self, made: list[changes.VolumeChange]) -> None:
        self._check_writable()
        client, volume_id = await self._ready()
        await in_thread(change, client, volume_id, request_id(), made)

    async def _check_folder(self, path: str) -> None:
        """Raise FileNotFoundError, NotADirectoryError unless there is a folder."""
        client, volume_id = await self._ready()
        found = await in_thread(lambda: next(list_entries(client, volume_id, path, False), None))
        if found is not None and found.path == path:
            raise NotADirectoryError(f"{path!r}: several files are copied into a folder, and this is none")


async def _in_threads(make: Callable[[], Generator[T]]) -> AsyncGenerator[T]:
    """Iterate over what blocks, each step in a thread."""
    source = make()
    end: Any = object()
    step: asyncio.Future[Any] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, source, end))
            item: T = await asyncio.shield(step)
            if item is end:
                return
            yield item
    finally:
        if step is None or step.done():
            source.close()
        else:
            step.add_done_callback(lambda _: source.close())  # a step that runs can't be closed
