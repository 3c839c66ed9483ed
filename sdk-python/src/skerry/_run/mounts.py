"""Sends local files: by content, only those the server has not seen."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from skerry._client.blobs import digest_of, upload_bytes, upload_file
from skerry._gen.skerry.v1.mount_pb import CreateMountRequest, MountFile
from skerry._gen.skerry.v1.payload_pb import BlobRef
from skerry._objects.local import LocalContents, LocalDir, LocalFiles, LocalPythonSource
from skerry._objects.patterns import FilePatternMatcher, make_matcher
from skerry.config import config
from skerry.exception import ExecutionError, InvalidError

from .source import find_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry._client.client import Client

    from .display import Display

_PARALLEL = 8
_READ_BYTES = 1 << 20


class Mounts:
    """Turns local files into trees the server knows. Files that several functions share are read and sent once."""

    def __init__(self, client: Client, display: Display) -> None:
        self._client = client
        self._display = display
        self._trees: dict[tuple[str, int], str] = {}
        self._sent: set[str] = set()
        self._keep: list[LocalFiles] = []
        self._began = time.time()

    @property
    def paths(self) -> list[str]:
        """The absolute local paths of all that was loaded."""
        return sorted({os.path.abspath(files.local_path) for files in self._keep})

    def load(self, files: LocalFiles) -> list[tuple[str, str]]:
        """Return the remote paths and tree digests of local files.

        Raises FileNotFoundError, NotADirectoryError, ModuleNotMountable, InvalidError for an empty folder.
        """
        parts = find_module(files) if isinstance(files, LocalPythonSource) else [files]
        return [(part.remote_path, self.tree(part)) for part in parts]

    def tree(self, files: LocalFiles) -> str:
        """Return the tree digest of a file, a folder, or some contents. Raises as load does."""
        key = (files.local_path, _identity(files))
        if key not in self._trees:
            self._keep.append(files)  # an id is only good while its object lives
            self._trees[key] = self._send(files)
            if files.local_path not in self._sent:
                self._sent.add(files.local_path)
                self._display.created(f"mount {files.local_path}")
        return self._trees[key]

    def _send(self, files: LocalFiles) -> str:
        entries = list(walk(files))
        if not entries:
            raise InvalidError(f"{files!r}: there are no files to send")
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="skerry-mount") as pool:
            described = list(pool.map(self._describe, entries))
            request = CreateMountRequest(files=described)
            response = self._client.call(lambda: self._client.mounts.create_mount(request))
            missing = set(response.missing_digests)
            if missing:
                wanted = {
                    file.digest: (file, path)
                    for file, (_, path) in zip(described, entries, strict=True)
                    if file.digest in missing
                }
                with self._display.uploading(files.local_path, len(wanted)) as uploaded:
                    for _ in pool.map(self._upload, wanted.values()):
                        uploaded()
                response = self._client.call(lambda: self._client.mounts.create_mount(request))
        if not response.tree_digest:
            raise ExecutionError(f"{files.local_path}: files changed while they were sent; run again")
        return response.tree_digest

    def _describe(self, entry: tuple[str, str | bytes]) -> MountFile:
        name, path = entry
        if isinstance(path, bytes):
            return MountFile(path=name, digest=digest_of(path), size=len(path), mode=0o644)
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            if info.st_mtime > self._began:
                self._changed(path)
            while data := file.read(_READ_BYTES):
                digest.update(data)
                size += len(data)
        return MountFile(path=name, digest=f"sha256:{digest.hexdigest()}", size=size, mode=stat.S_IMODE(info.st_mode))

    def _changed(self, path: str) -> None:
        """What is sent of a file that changes meanwhile may not fit the rest."""
        text = f"{path}: was modified during build process"
        choice = config.build_validation
        if choice == "error":
            raise ExecutionError(f"{text}; run again, or set SKERRY_BUILD_VALIDATION=warn or ignore")
        if choice == "warn":
            warnings.warn(text, stacklevel=2)

    def _upload(self, item: tuple[MountFile, str | bytes]) -> None:
        file, path = item
        blob = BlobRef(digest=file.digest, size=file.size)
        if isinstance(path, bytes):
            upload_bytes(self._client, blob, path)
            return
        try:
            upload_file(self._client, blob, path)
        except InvalidError as err:
            raise ExecutionError(f"{path}: was modified while it was sent; run again ({err})") from err


def _identity(files: LocalFiles) -> int:
    """Return what files of the same path differ by."""
    match files:
        case LocalDir():
            return id(files.ignore)
        case LocalContents():
            return id(files)
        case _:
            return 0


def walk(files: LocalFiles) -> Iterator[tuple[str, str | bytes]]:
    """Yield the path in the tree of each file, and its local path or its content."""
    if isinstance(files, LocalContents):
        for name, content in sorted(files.contents.items()):
            if isinstance(content, str) and not os.path.isfile(content):
                raise FileNotFoundError(f"local file {content!r} does not exist")
            yield name, content
        return
    root = files.local_path
    if not isinstance(files, LocalDir):
        if not os.path.isfile(root):
            raise FileNotFoundError(
                f"local file {root!r} does not exist"
                if not os.path.isdir(root)
                else f"{root!r} is a folder: use add_local_dir"
            )
        yield ".", root
        return
    if not os.path.exists(root):
        raise FileNotFoundError(f"local folder {root!r} does not exist")
    if not os.path.isdir(root):
        raise NotADirectoryError(f"{root!r} is a file: use add_local_file")
    ignored = make_matcher(files.ignore)
    prune = isinstance(ignored, FilePatternMatcher) and ignored.can_prune_directories()
    for folder, folders, names in os.walk(root, followlinks=True):
        relative = Path(os.path.relpath(folder, root))
        folders.sort()
        if prune:
            folders[:] = [name for name in folders if not ignored(relative / name)]
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not ignored(relative / name) and os.path.isfile(path):
                yield (relative / name).as_posix(), path
