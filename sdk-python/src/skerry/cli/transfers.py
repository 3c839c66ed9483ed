"""Files on their way between a volume and this machine, with what shows how far they are."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skerry._client.direct import drive
from skerry._gen.skerry.v1.volume_entry_pb import VolumeEntryType
from skerry._volume.paths import volume_path
from skerry._volume.reading import list_entries, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from skerry import Volume
    from skerry._gen.skerry.v1.volume_entry_pb import VolumeEntry

_PARALLEL = 8
# A file that is being downloaded has this behind its name.
_PART = ".skerry-part"


@contextmanager
def show_progress(what: str) -> Generator[Callable[[int, int], None] | None]:
    """Show how many bytes are done of how many, on a terminal; yields what is to be told."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(what), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_file(volume: Volume, remote: str) -> None:
    """Write a file of a volume to the standard output."""
    for part in volume.read_file(remote):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


class Download:
    """Files of a volume that are to be here. Raises FileExistsError for those that are, without force; FileNotFoundError."""

    def __init__(self, volume: Volume, remote: str, local: str, *, force: bool) -> None:
        self._client, self._volume_id = drive(volume._ready())
        self._force = force
        self._remote = volume_path(remote)
        self._entries = list(list_entries(self._client, self._volume_id, self._remote, True))
        self._single = len(self._entries) == 1 and self._entries[0].path == self._remote
        self.place = self._place(local)
        self._lock = threading.Lock()
        self._done = 0
        self._told: Callable[[int, int], None] | None = None
        self._left = threading.Event()

    def _place(self, local: str) -> str:
        """Return the local path of what is downloaded, as cp has it: in a folder that is there, or else the path itself."""
        if (os.path.isdir(local) or local.endswith("/")) and self._remote:
            return os.path.join(local, os.path.basename(self._remote))
        return local

    @property
    def num_files(self) -> int:
        """How many files there are to download."""
        return sum(entry.type == VolumeEntryType.FILE for entry in self._entries)

    @property
    def _total(self) -> int:
        return sum(entry.size for entry in self._entries)

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Download."""
        self._told = progress
        files: list[tuple[VolumeEntry, str]] = []
        for entry in self._entries:
            path = self._path(entry)
            if entry.type == VolumeEntryType.FILE:
                if os.path.lexists(path) and not self._force:
                    raise FileExistsError(f"{path!r} is there already; replace it with --force")
                files.append((entry, path))
        self._make_folders()
        pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="skerry-volume-get")
        try:
            for _ in pool.map(self._get, files):
                pass
        finally:
            self._left.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _path(self, entry: VolumeEntry) -> str:
        inside = entry.path[len(self._remote) :].lstrip("/")
        return os.path.join(self.place, inside) if inside else self.place

    def _make_folders(self) -> None:
        """Make folders and links. A link that is here already is never gone through."""
        if self._single:
            os.makedirs(os.path.dirname(self.place) or ".", exist_ok=True)
        else:
            os.makedirs(self.place, exist_ok=True)
        for entry in self._entries:
            path = self._path(entry)
            if entry.type == VolumeEntryType.DIRECTORY:
                if os.path.islink(path):
                    raise FileExistsError(f"{path!r} is a symbolic link, and a folder in the volume; remove it first")
                os.makedirs(path, exist_ok=True)
            elif entry.type == VolumeEntryType.SYMLINK and self._stays_inside(entry):
                if os.path.lexists(path):
                    if not self._force:
                        raise FileExistsError(f"{path!r} is there already; replace it with --force")
                    os.unlink(path)
                os.symlink(entry.target, path)
            elif entry.type != VolumeEntryType.FILE:
                print(f"{entry.path} is left out: it is no file, or leads out of what is downloaded", file=sys.stderr)

    def _stays_inside(self, entry: VolumeEntry) -> bool:
        if os.path.isabs(entry.target) or self._single:
            return False
        at = os.path.normpath(os.path.join(os.path.dirname(entry.path), entry.target))
        return not at.startswith("..") and (not self._remote or at == self._remote or at.startswith(f"{self._remote}/"))

    def _get(self, item: tuple[VolumeEntry, str]) -> None:
        entry, path = item
        if self._left.is_set():
            return
        stamp = entry.modified_at
        time = (stamp.seconds * 10**9 + stamp.nanos) if stamp is not None else 0
        if not self._is_here(entry, path, time):
            part = path + _PART
            with open(part, "wb") as file:
                for data in read_parts(self._client, self._volume_id, entry.path):
                    file.write(data)
                    self._tell(len(data))
            os.chmod(part, entry.mode & 0o777)
            os.utime(part, ns=(time, time))
            os.replace(part, path)
        else:
            self._tell(entry.size)

    def _is_here(self, entry: VolumeEntry, path: str, time: int) -> bool:
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return False
        return info.st_size == entry.size and info.st_mtime_ns == time

    def _tell(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._told is not None:
                self._told(self._done, self._total)
