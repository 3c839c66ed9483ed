"""What the reference had before ``sandbox.filesystem``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from skerry._client.dual import dual, dual_iterator
from skerry._client.feed import Ready
from skerry._twin import twin
from skerry.exception import DeprecationError

from .files import SandboxFilesystem, watch_request
from .values import file_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from skerry.types import FileWatchEvent, FileWatchEventType

    from .file_io import FileIO
    from .inside import Inside


class Deprecated:
    """The part of a sandbox that is kept for programs that were written for it."""

    _inside: Inside

    @twin
    def open(self, path: str, mode: str = "r") -> FileIO[Any]:
        """Open a file. Deprecated: use ``sandbox.filesystem``.

        Args:
            path: absolute.
            mode: "r", "w", "a" or "x", with "+" and "b" as for the builtin.
        """
        from .file_io import open_file

        _warn("open", "read_text(), write_text() and their like")
        return open_file(SandboxFilesystem(self._inside), path, mode)

    @dual
    async def ls(self, path: str) -> list[str]:
        """Return the names in a directory. Deprecated: use ``sandbox.filesystem.list_files``."""
        _warn("ls", "list_files()")
        return [file.name for file in await SandboxFilesystem(self._inside).list_files.aio(path)]

    @dual
    async def mkdir(self, path: str, parents: bool = False) -> None:
        """Make a directory. Deprecated: use ``sandbox.filesystem.make_directory``.

        Args:
            path: absolute.
            parents: make missing ones above it, and don't mind if it is there.
        """
        _warn("mkdir", "make_directory()")
        await SandboxFilesystem(self._inside).make_directory.aio(path, create_parents=parents)

    @dual
    async def rm(self, path: str, recursive: bool = False) -> None:
        """Remove a file or directory. Deprecated: use ``sandbox.filesystem.remove``."""
        _warn("rm", "remove()")
        await SandboxFilesystem(self._inside).remove.aio(path, recursive=recursive)

    @dual_iterator
    async def watch(
        self,
        path: str,
        filter: Sequence[FileWatchEventType] | None = None,  # noqa: A002 - the reference's name
        recursive: bool | None = None,
        timeout: int | None = None,
    ) -> AsyncIterator[FileWatchEvent | Ready]:
        """Iterate over what happens to files. Deprecated: use ``sandbox.filesystem.watch``."""
        from .watching import watch

        _warn("watch", "watch()")
        request = watch_request(path, filter, bool(recursive), timeout)
        async for response in watch(self._inside, request, timeout):
            yield response if isinstance(response, Ready) else file_event(response)


def _warn(name: str, instead: str) -> None:
    warnings.warn(f"Sandbox.{name}() is deprecated; use sandbox.filesystem.{instead}", DeprecationError, stacklevel=4)
