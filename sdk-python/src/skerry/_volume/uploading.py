"""Files on their way into a volume: small ones in packs, large ones in chunks, and then all of them as one version."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from protobuf import Oneof
from protobuf.wkt import Timestamp

from skerry import exception as exc
from skerry._client.blobs import digest_of, upload_bytes
from skerry._gen.skerry.v1.payload_pb import BlobRef
from skerry._gen.skerry.v1.volume_change_pb import VolumeChange, VolumePut
from skerry._gen.skerry.v1.volume_entry_pb import VolumeContent, VolumeEntry, VolumeEntryType
from skerry._gen.skerry.v1.volume_pb import ChangeVolumeRequest, ChangeVolumeResponse
from skerry._names import new_id

from .faults import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from skerry._client.client import Client

    from .sources import Source

CHUNK_BYTES = 4 << 20
# A file of so many bytes at most shares a blob with others.
_SMALL_BYTES = 1 << 20
_PARALLEL = 8
# How many changes go in a message.
_BATCH = 2000
# How often the server may ask for a blob again that it was sent.
_TRIES = 3


def request_id() -> str:
    """Return the id of a request that is applied once."""
    return new_id("x").partition("-")[2]


def change(client: Client, volume_id: str, request: str, changes: list[VolumeChange]) -> ChangeVolumeResponse:
    """Ask for changes as one version. Raises FileNotFoundError, FileExistsError, ConflictError, InvalidError."""

    def messages() -> Iterator[ChangeVolumeRequest]:
        for start in range(0, len(changes) or 1, _BATCH):
            yield ChangeVolumeRequest(volume_id=volume_id, request_id=request, changes=changes[start : start + _BATCH])

    return call(client, lambda: client.volumes.change_volume(messages()))


class Piece:
    """A blob to upload: parts of sources that follow one another, or what is in memory."""

    __slots__ = ("data", "parts", "size", "tries")

    def __init__(self, parts: list[tuple[Source, int, int]], size: int, data: bytes | None = None) -> None:
        self.parts = parts
        self.size = size
        self.data = data
        self.tries = 0

    def read(self) -> bytes:
        if self.data is not None:
            return self.data
        found = bytearray()
        for source, offset, size in self.parts:
            found += source.read(offset, size)
        return bytes(found)

    def names(self) -> str:
        return ", ".join(dict.fromkeys(source.name for source, _, _ in self.parts[:3]))


class Upload:
    """One upload of many files. Nothing of it is in the volume until :meth:`run` has returned, and then all of it is.

    Args:
        client: whose.
        volume_id: into which volume.
        force: replace files that are there.
        progress: is told how many bytes are done of how many.
    """

    def __init__(
        self, client: Client, volume_id: str, *, force: bool, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._client = client
        self._volume_id = volume_id
        self._force = force
        self._progress = progress
        self._changes: list[VolumeChange] = []
        self._pieces: dict[str, Piece] = {}
        self._pack: list[tuple[VolumeEntry, Source]] = []
        self._pack_data = bytearray()
        self._left = threading.Event()
        self._lock = threading.Lock()
        self._sent = self._total = 0

    def run(self, sources: Iterable[Source]) -> None:
        """Upload. Raises FileExistsError, VolumeUploadTimeoutError, and what reading the sources raises."""
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="skerry-volume-upload")
        try:
            for source in sources:
                self._add(pool, source)
            self._end_pack()
            if not self._changes:
                return
            request = request_id()
            while True:
                answer = change(self._client, self._volume_id, request, self._changes)
                if not answer.missing_digests:
                    return
                self._send(pool, answer.missing_digests)
        finally:
            self._left.set()
            pool.shutdown(wait=True, cancel_futures=True)

    # Digests.

    def _add(self, pool: ThreadPoolExecutor, source: Source) -> None:
        entry = source.entry()
        put = VolumePut(entry=entry, must_be_new=not self._force or entry.type == VolumeEntryType.DIRECTORY)
        self._changes.append(VolumeChange(kind=Oneof("put", put)))
        if entry.type != VolumeEntryType.FILE or not entry.size:
            return
        self._total += entry.size
        if entry.size > CHUNK_BYTES:
            self._chunk(pool, entry, source)
        elif entry.size > _SMALL_BYTES:
            digest = digest_of(source.read(0, entry.size))
            self._pieces.setdefault(digest, Piece([(source, 0, entry.size)], entry.size))
            entry.content = VolumeContent(digest=digest)
        else:
            if len(self._pack_data) + entry.size > CHUNK_BYTES:
                self._end_pack()
            self._pack_data += source.read(0, entry.size)
            self._pack.append((entry, source))

    def _end_pack(self) -> None:
        if not self._pack:
            return
        digest, offset = digest_of(self._pack_data), 0
        parts: list[tuple[Source, int, int]] = []
        for entry, source in self._pack:
            entry.content = VolumeContent(digest=digest, offset=offset)
            parts.append((source, 0, entry.size))
            offset += entry.size
        self._pieces.setdefault(digest, Piece(parts, offset))
        self._pack, self._pack_data = [], bytearray()

    def _chunk(self, pool: ThreadPoolExecutor, entry: VolumeEntry, source: Source) -> None:
        """Make the manifest of a large file."""
        spans = [(at, min(CHUNK_BYTES, entry.size - at)) for at in range(0, entry.size, CHUNK_BYTES)]
        chunks: list[dict[str, Any]] = []
        for (at, size), digest in zip(
            spans, _ahead(pool, lambda span: digest_of(source.read(*span)), spans), strict=True
        ):
            self._pieces.setdefault(digest, Piece([(source, at, size)], size))
            chunks.append({"digest": digest, "size": size})
        manifest = {"format": "skerry.file.1", "size": entry.size, "local": None, "chunks": chunks}
        data = json.dumps(manifest, separators=(",", ":")).encode()
        digest = digest_of(data)
        self._pieces.setdefault(digest, Piece([], 0, data))
        entry.content = VolumeContent(digest=digest, chunked=True)

    # Contents.

    def _send(self, pool: ThreadPoolExecutor, missing: Iterable[str]) -> None:
        for _ in _ahead(pool, self._send_one, list(missing)):
            pass

    def _send_one(self, digest: str) -> None:
        if self._left.is_set():
            return
        piece = self._pieces.get(digest)
        if piece is None:
            raise exc.DataLossError(f"the server asks for blob {digest}, which is no part of this upload")
        piece.tries += 1
        if piece.tries > _TRIES:
            raise exc.VolumeUploadTimeoutError(f"the server asks for blob {digest} again and again; is its disk full?")
        data = piece.read()
        if piece.data is None and "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise exc.ConflictError(f"{piece.names()}: changed while it was uploaded; try again")
        upload_bytes(self._client, BlobRef(digest=digest, size=len(data)), data)
        with self._lock:
            self._sent += piece.size
            if self._progress is not None:
                self._progress(self._sent, self._total)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    """Yield results in order, with a few items under way: what they read is in memory."""
    from collections import deque

    waiting: deque[Future[Any]] = deque()
    for item in items:
        if len(waiting) == 2 * _PARALLEL:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, item))
    while waiting:
        yield waiting.popleft().result()


def stamp(nanoseconds: int) -> Timestamp:
    """Return a moment for the server."""
    return Timestamp(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def now() -> Timestamp:
    """Return this moment."""
    return stamp(time.time_ns())
