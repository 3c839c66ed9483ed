"""Payloads that are too large to go with a message."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from protobuf import Oneof

from skerry._gen.skerry.v1.blob_pb import DownloadRequest, UploadRequest
from skerry._gen.skerry.v1.payload_pb import BlobRef, Payload, PayloadFormat
from skerry.exception import DataLossError, RequestSizeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from .client import Client

MAX_INLINE_BYTES = 512 << 10
MAX_BYTES = 1 << 30
_FRAME_BYTES = 1 << 20


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return the digest that names a blob of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_payload(client: Client, data: bytes, what: str) -> Payload:
    """Return a pickle as a Payload, uploaded first if it is over 512 KiB.

    Raises RequestSizeError over 1 GiB.
    """
    if len(data) <= MAX_INLINE_BYTES:
        return inline_payload(data)
    if len(data) > MAX_BYTES:
        raise RequestSizeError(f"{what} takes {len(data):,} bytes when pickled; the most is 1 GiB")
    blob = BlobRef(digest=digest_of(data), size=len(data))
    upload_bytes(client, blob, data)
    return Payload(format=PayloadFormat.PICKLE, content=Oneof("blob", blob))


def inline_payload(data: bytes) -> Payload:
    """Return a pickle of at most 512 KiB as a Payload."""
    return Payload(format=PayloadFormat.PICKLE, content=Oneof("inline", data))


def read_payload(client: Client, payload: Payload | None) -> bytes | bytearray:
    """Return the bytes of a Payload, downloaded if it is a blob."""
    if payload is None or payload.content is None:
        return b""
    if payload.content.field == "inline":
        return payload.content.value
    blob = payload.content.value
    data = bytearray()

    def download() -> None:
        # What has come stays over a broken connection.
        for part in client.blobs.download(DownloadRequest(digest=blob.digest, offset=len(data))):
            data.extend(part.data)

    client.call(download)
    if digest_of(data) != blob.digest:
        raise DataLossError(f"blob {blob.digest}: the {len(data):,} bytes received do not match the digest")
    return data


def upload_file(client: Client, blob: BlobRef, path: str) -> None:
    """Upload a local file whose digest and size are known."""

    def frames() -> Iterator[UploadRequest]:
        with open(path, "rb") as file:
            yield from _file_frames(blob, file)

    client.call(lambda: client.blobs.upload(frames()))


def upload_bytes(client: Client, blob: BlobRef, data: bytes) -> None:
    """Upload what is in memory, whose digest and size are known."""
    client.call(lambda: client.blobs.upload(_frames(blob, data)))


def _frames(blob: BlobRef, data: bytes) -> Iterator[UploadRequest]:
    yield UploadRequest(blob=blob)
    view = memoryview(data)
    for start in range(0, len(view), _FRAME_BYTES):
        yield UploadRequest(data=bytes(view[start : start + _FRAME_BYTES]))


def _file_frames(blob: BlobRef, file: BinaryIO) -> Iterator[UploadRequest]:
    yield UploadRequest(blob=blob)
    while data := file.read(_FRAME_BYTES):
        yield UploadRequest(data=data)
