"""What comes out of volumes: lists of entries, and contents, in parts that are fetched side by side."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1 import volume_pb as pb

from .faults import call
from .values import FileEntry, FileEntryType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.volume_entry_pb import VolumeEntry

# A file is read in parts of this many bytes, so many of them at a time.
_PART_BYTES = 8 << 20
_PARTS = 4


def list_entries(client: Client, volume_id: str, path: str, recursive: bool) -> Iterator[VolumeEntry]:
    """Yield what is at a path, of one version, over broken connections. Raises FileNotFoundError."""
    stream: Any = None
    version = done = ahead = 0

    def receive() -> Any:
        nonlocal stream, ahead
        if stream is None:
            request = pb.ListVolumeFilesRequest(volume_id=volume_id, path=path, recursive=recursive, version=version)
            stream, ahead = iter(client.volumes.list_volume_files(request)), done
        try:
            return next(stream, None)
        except BaseException:
            stream = None  # what has come stays: the order is always the same
            raise

    while (part := call(client, receive)) is not None:
        version = part.version
        for entry in part.entries:
            if ahead:
                ahead -= 1
                continue
            done += 1
            yield entry


def file_entry(entry: VolumeEntry) -> FileEntry:
    """Return an entry as users see it."""
    seconds = 0 if entry.modified_at is None else entry.modified_at.seconds
    return FileEntry(path=entry.path, type=FileEntryType(int(entry.type)), mtime=seconds, size=entry.size)


class Part:
    """Bytes of a file, the file, and the version that they are of."""

    __slots__ = ("data", "entry", "version")

    def __init__(self) -> None:
        self.data = bytearray()
        self.entry: VolumeEntry | None = None
        self.version = 0


def read_part(client: Client, volume_id: str, path: str, offset: int, length: int, version: int = 0) -> Part:
    """Return up to so many bytes from an offset. Raises FileNotFoundError; ConflictError for what is no file."""
    part = Part()
    part.version = version

    def receive() -> None:
        left = length - len(part.data)
        if not left:
            return
        request = pb.ReadVolumeFileRequest(
            volume_id=volume_id, path=path, offset=offset + len(part.data), length=left, version=part.version
        )
        for message in client.volumes.read_volume_file(request):
            if message.entry is not None:
                part.entry, part.version = message.entry, message.version
            part.data += message.data  # stays over a broken connection

    call(client, receive)
    return part


def read_parts(client: Client, volume_id: str, path: str) -> Iterator[bytes | bytearray]:
    """Yield a file's content in order; parts that follow are fetched meanwhile. All is of one version."""
    first = read_part(client, volume_id, path, 0, _PART_BYTES)
    size = first.entry.size if first.entry is not None else 0
    if first.data:
        yield first.data
    if size <= _PART_BYTES:
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(_PARTS, thread_name_prefix="skerry-volume-read")
    try:
        waiting: deque[Future[Part]] = deque()
        offset = _PART_BYTES
        while waiting or offset < size:
            while offset < size and len(waiting) < _PARTS:
                waiting.append(pool.submit(read_part, client, volume_id, path, offset, _PART_BYTES, first.version))
                offset += _PART_BYTES
            yield waiting.popleft().result().data
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
