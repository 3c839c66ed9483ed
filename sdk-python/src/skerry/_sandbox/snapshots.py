"""Snapshots, copies and mounted images of sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from skerry import exception as exc
from skerry._client.dual import dual
from skerry._gen.skerry.v1 import snapshot_pb as pb
from skerry._names import new_id
from skerry._objects.image import Image
from skerry._run.policies import duration

from .faults import timed_out

if TYPE_CHECKING:
    from skerry._client.client import Client

    from .inside import Inside
    from .sandbox import Sandbox
    from .snapshot import SandboxSnapshot

_TTL = 30 * 86400
_SNAPSHOT_TIMEOUT = 55
_MOST_FORKS = 100


class Snapshots:
    """The part of a sandbox that concerns its states."""

    _client: Client
    _inside: Inside
    _sandbox_id: str

    @dual
    async def snapshot_filesystem(self, timeout: float = _SNAPSHOT_TIMEOUT, *, ttl: int | None = _TTL) -> Image:
        """Make an image of the sandbox's files, without what is mounted in it, for sandboxes and functions.

        Args:
            timeout: most seconds that it may take.
            ttl: seconds that the image is kept after its last use; None: for ever. Default: 30 days.

        Raises skerry.exception.TimeoutError, ConflictError for a sandbox that does not run.
        """
        self._inside.check()
        request = pb.SnapshotFilesystemRequest(
            sandbox_id=self._sandbox_id, limit=_limit(timeout), ttl_seconds=_check_ttl(ttl)
        )
        answer = await self._client.ask(
            lambda: self._client.aio.snapshots.snapshot_filesystem(request), fault=timed_out("snapshot_filesystem")
        )
        return Image.from_id(answer.image_id)

    @dual
    async def snapshot_directory(
        self,
        path: str,
        *,
        timeout: float = _SNAPSHOT_TIMEOUT,
        ttl: int | None = _TTL,
        _experimental_encryption_key: bytes | None = None,
    ) -> Image:
        """Make an image of one directory of the sandbox: its root is the directory. For ``mount_image``.

        Args:
            path: absolute.
            timeout: most seconds that it may take.
            ttl: as in :meth:`snapshot_filesystem`.

        Raises skerry.exception.TimeoutError, NotFoundError, ConflictError, InvalidError.
        """
        self._inside.check()
        _refuse_key(_experimental_encryption_key)
        request = pb.SnapshotDirectoryRequest(
            sandbox_id=self._sandbox_id, path=check_path(path), limit=_limit(timeout), ttl_seconds=_check_ttl(ttl)
        )
        answer = await self._client.ask(
            lambda: self._client.aio.snapshots.snapshot_directory(request), fault=timed_out("snapshot_directory")
        )
        return Image.from_id(answer.image_id)

    @dual
    async def mount_image(self, path: str, image: Image, *, _experimental_encryption_key: bytes | None = None) -> None:
        """Show an image's files at a path, writable; what is mounted there already is replaced.

        Args:
            path: absolute; made if it is missing.
            image: one that is built, such as a snapshot, or ``Image.from_scratch()`` for an empty directory.

        Raises InvalidError, NotFoundError, ConflictError.
        """
        self._inside.check()
        _refuse_key(_experimental_encryption_key)
        request = pb.MountImageRequest(sandbox_id=self._sandbox_id, path=check_path(path), image_id=_mountable(image))
        await self._client.ask(lambda: self._client.aio.snapshots.mount_image(request))

    @dual
    async def unmount_image(self, path: str) -> None:
        """Take a mounted image away; what was written there is lost. Raises NotFoundError, ConflictError while it is in use."""
        self._inside.check()
        request = pb.UnmountImageRequest(sandbox_id=self._sandbox_id, path=check_path(path))
        await self._client.ask(lambda: self._client.aio.snapshots.unmount_image(request))

    @dual
    async def fork(self, n: int = 1, *, timeout: float = _SNAPSHOT_TIMEOUT) -> list[Sandbox]:
        """Make sandboxes that go on from where this one is, each with its own memory and files; this one runs on.

        Args:
            n: how many, 1 to 100.
            timeout: most seconds that the snapshot may take.

        They have no name, and the tags, timeout and network policy of this one. TCP connections are not copied. Raises
        skerry.exception.TimeoutError, ConflictError, ResourceExhaustedError.
        """
        from .sandbox import Sandbox

        self._inside.check()
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_FORKS:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise exc.InvalidError(f"fork({n!r}): want a number from 1 to {_MOST_FORKS}")
        request = pb.ForkSandboxRequest(
            sandbox_id=self._sandbox_id, fork_ids=[new_id("sb") for _ in range(n)], limit=_limit(timeout)
        )
        answer = await self._client.ask(
            lambda: self._client.aio.snapshots.fork_sandbox(request), fault=timed_out("fork")
        )
        return [Sandbox._made(self._client, info) for info in answer.sandboxes]

    @dual
    async def _experimental_snapshot(self, *, timeout: float = _SNAPSHOT_TIMEOUT) -> SandboxSnapshot:
        """Keep the sandbox with its memory; it runs on. :meth:`_experimental_from_snapshot` makes sandboxes of it.

        Raises skerry.exception.TimeoutError, ConflictError.
        """
        from .snapshot import SandboxSnapshot

        self._inside.check()
        request = pb.SnapshotSandboxRequest(sandbox_id=self._sandbox_id, limit=_limit(timeout))
        answer = await self._client.ask(
            lambda: self._client.aio.snapshots.snapshot_sandbox(request), fault=timed_out("_experimental_snapshot")
        )
        return SandboxSnapshot._made(self._client, answer.snapshot_id)

    def _experimental_get_exit_snapshot(self, timeout: float | None = None) -> NoReturn:
        """Not available: nothing is kept of a sandbox that ends. Use :meth:`snapshot_filesystem` before, or ``on_idle="pause"``."""
        raise exc.UnimplementedError(
            "snapshots at exit are not available in this version of skerry; use sandbox.snapshot_filesystem() before it ends"
        )


def check_path(path: Any) -> str:
    """Return an absolute path. Raises InvalidError."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise exc.InvalidError(f"path {path!r}: want an absolute one, such as '/data'")
    return path


def _limit(timeout: float) -> Any:
    if isinstance(timeout, bool) or timeout <= 0:
        raise exc.InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
    return duration(timeout)


def _check_ttl(ttl: int | None) -> int:
    if ttl is None:
        return 0
    if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise exc.InvalidError(f"ttl {ttl!r}: want whole seconds, more than 0, or None to keep it for ever")
    return ttl


def _mountable(image: Any) -> str:
    if not isinstance(image, Image):
        raise exc.InvalidError(f"mount_image takes a skerry.Image, got {type(image).__name__}")
    if image._mounts:
        raise exc.InvalidError(
            "mount_image: the image has local files that are mounted (add_local_... without copy=True), which it can't show"
        )
    if image._base.kind == "scratch" and not image._steps:
        return ""
    if not image._object_id:
        raise exc.InvalidError("mount_image: the image has not been built; use image.build(app) first")
    return image._object_id


def _refuse_key(key: bytes | None) -> None:
    if key is not None:
        raise exc.UnimplementedError("encrypted snapshots are not available in this version of skerry yet")
