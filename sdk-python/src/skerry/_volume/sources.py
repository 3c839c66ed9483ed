"""What is put into volumes: local files, folders, links, and file objects."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import warnings
from typing import IO, TYPE_CHECKING

from skerry._gen.skerry.v1.volume_entry_pb import VolumeEntry, VolumeEntryType

from .uploading import now, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Source:
    """Something to put at a path. ``read`` may be called by several threads, and twice for the same bytes."""

    def __init__(self, remote: str, name: str) -> None:
        self.remote = remote
        self.name = name

    def entry(self) -> VolumeEntry:
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        raise NotImplementedError


class LocalFile(Source):
    """A file, of which content, permission bits and time are kept."""

    def __init__(self, path: str, remote: str, mode: int | None) -> None:
        super().__init__(remote, path)
        self._mode = mode

    def entry(self) -> VolumeEntry:
        info = os.stat(self.name)
        if not stat.S_ISREG(info.st_mode):
            raise FileNotFoundError(f"{self.name!r} is no file")
        mode = stat.S_IMODE(info.st_mode) & 0o777 if self._mode is None else self._mode
        return VolumeEntry(
            path=self.remote,
            type=VolumeEntryType.FILE,
            mode=mode,
            modified_at=stamp(info.st_mtime_ns),
            size=info.st_size,
        )

    def read(self, offset: int, size: int) -> bytes:
        with open(self.name, "rb") as file:
            file.seek(offset)
            return file.read(size)


class FileObject(Source):
    """What a file object has from where it stands."""

    def __init__(self, file: IO[bytes], remote: str, mode: int | None) -> None:
        super().__init__(remote, str(getattr(file, "name", "a file object")))
        self._given = file
        self._file: IO[bytes] = file
        self._start = file.tell() if file.seekable() else 0
        self._mode = mode
        self._lock = threading.Lock()

    def entry(self) -> VolumeEntry:
        if not self._given.seekable():
            # It is read twice: first for what it is called by, then to be sent.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is gone with the upload
            while data := self._given.read(1 << 20):
                self._file.write(data)
        self._file.seek(0, os.SEEK_END)
        size = max(self._file.tell() - self._start, 0)
        mode = 0o644 if self._mode is None else self._mode
        return VolumeEntry(path=self.remote, type=VolumeEntryType.FILE, mode=mode, modified_at=now(), size=size)

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(self._start + offset)
            return self._file.read(size)


class Folder(Source):
    """A folder, which is made where there is none."""

    def entry(self) -> VolumeEntry:
        info = os.stat(self.name)
        mode = stat.S_IMODE(info.st_mode) & 0o777
        return VolumeEntry(
            path=self.remote, type=VolumeEntryType.DIRECTORY, mode=mode, modified_at=stamp(info.st_mtime_ns)
        )


class Link(Source):
    """A symbolic link that leads to something in the same upload."""

    def entry(self) -> VolumeEntry:
        info = os.lstat(self.name)
        return VolumeEntry(
            path=self.remote,
            type=VolumeEntryType.SYMLINK,
            mode=0o777,
            modified_at=stamp(info.st_mtime_ns),
            target=os.readlink(self.name),
        )


def walk(local: Path, remote: str, recursive: bool) -> Iterator[Source]:
    """Yield what is in a local folder, in the order of names. Raises NotADirectoryError."""
    if not local.is_dir():
        raise NotADirectoryError(f"{str(local)!r} is no folder")
    top = os.path.realpath(local)
    folders = [(str(local), remote)]
    while folders:
        folder, into = folders.pop()
        if into:
            yield Folder(into, folder)
        below: list[tuple[str, str]] = []
        for item in sorted(os.scandir(folder), key=lambda each: each.name):
            at = f"{into}/{item.name}" if into else item.name
            if item.is_symlink() and _stays_within(item.path, top):
                yield Link(at, item.path)
            elif item.is_file():
                yield LocalFile(item.path, at, None)
            elif item.is_dir(follow_symlinks=False):
                if recursive:
                    below.append((item.path, at))
            else:
                warnings.warn(f"{item.path!r} is left out: it is no file, folder, or link to a file", stacklevel=2)
        folders.extend(reversed(below))


def _stays_within(path: str, top: str) -> bool:
    """Tell whether a link leads, by a relative path, to something in a folder: then it means the same in the volume."""
    target = os.readlink(path)
    if os.path.isabs(target) or not os.path.exists(path):
        return False
    reached = os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(path)), target))
    return reached.startswith(f"{top}{os.sep}")
