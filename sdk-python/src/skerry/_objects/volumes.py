"""What ``volumes={...}`` may be, for functions, sandboxes and steps of images."""

from __future__ import annotations

from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from skerry._gen.skerry.v1.bucket_pb import BucketMount
    from skerry._gen.skerry.v1.volume_mount_pb import VolumeMount
    from skerry._volume.volume import Volume

    from .bucket import CloudBucketMount
    from .secret import Secret

_RESERVED = ("/proc", "/sys", "/dev", "/__skerry")


def check_volumes(volumes: Mapping[str, Any] | None) -> dict[str, Volume | CloudBucketMount]:
    """Return what is to be mounted, by path, or raise InvalidError."""
    if not volumes:
        return {}
    if not isinstance(volumes, dict):
        raise InvalidError("volumes must be a dict of paths in the container and what is mounted there")
    from skerry._volume.volume import Volume

    from .bucket import CloudBucketMount

    checked: dict[str, Volume | CloudBucketMount] = {}
    given: dict[Any, Any] = volumes  # pyright: ignore[reportUnknownVariableType]
    for path, mounted in given.items():
        if not isinstance(mounted, (Volume, CloudBucketMount)):
            raise InvalidError(
                f"volumes: {path!r}: want a skerry.Volume or CloudBucketMount, got {type(mounted).__name__}"
            )
        checked[_check_path(path)] = mounted
    _check_once({path: mounted for path, mounted in checked.items() if isinstance(mounted, Volume)})
    return checked


def check_step_volumes(method: str, volumes: Mapping[str, Any] | None) -> dict[str, Volume]:
    """Return the volumes of a step of an image, by path, or raise InvalidError."""
    if not volumes:
        return {}
    from skerry._volume.volume import Volume

    checked: dict[str, Volume] = {}
    for path, mounted in check_volumes(volumes).items():
        if not isinstance(mounted, Volume):
            raise InvalidError(f"{method}: {path!r}: a step of an image can have volumes, not a CloudBucketMount")
        checked[path] = mounted
    return checked


def _check_path(given: Any) -> str:
    """Return a path at which something can be mounted. Raises InvalidError."""
    path = str(given)
    parts = path.split("/")
    if not path.startswith("/") or (path != "/" and ("" in parts[1:] or "." in parts or ".." in parts)):
        raise InvalidError(f"volumes: {path!r}: want an absolute path without '//', '.', '..' and a '/' at its end")
    if path in ("/", "/root", "/tmp"):  # noqa: S108 - a path of containers
        raise InvalidError(f"volumes: {path!r}: nothing can be mounted there; choose another path")
    if any(path == taken or path.startswith(f"{taken}/") for taken in _RESERVED):
        raise InvalidError(f"volumes: {path!r}: that path is reserved; choose another path")
    return path


def _check_once(volumes: Mapping[str, Volume]) -> None:
    """Raise InvalidError for a volume that is mounted twice."""
    seen: dict[str, Volume] = {}
    for path, volume in volumes.items():
        for other_path, other in seen.items():
            if other._is_same(volume):
                raise InvalidError(f"volumes: {volume!r} is mounted at {other_path!r} and at {path!r}; mount it once")
        seen[path] = volume


async def volume_messages(volumes: Mapping[str, Any], environment: str = "") -> list[VolumeMount]:
    """Return the volumes for the server, which are looked up.

    Args:
        volumes: by path.
        environment: that of those which name none.

    Raises NotFoundError; InvalidError for a volume that is mounted twice.
    """
    from skerry._gen.skerry.v1.volume_mount_pb import VolumeMount
    from skerry._volume.volume import Volume

    found: dict[str, VolumeMount] = {}
    for path, volume in volumes.items():
        if not isinstance(volume, Volume):
            continue
        if volume._object_id is None and not volume._environment:
            volume._environment = environment or None
        _, volume_id = await volume._ready()
        if volume_id in found:
            raise InvalidError(
                f"volumes: {volume!r} is mounted at {found[volume_id].mount_path!r} and at {path!r}; mount it once"
            )
        found[volume_id] = VolumeMount(
            mount_path=path, volume_id=volume_id, read_only=volume._read_only, sub_path=volume._sub_path
        )
    return list(found.values())


def bucket_messages(
    volumes: Mapping[str, Volume | CloudBucketMount], secret_id: Callable[[Secret], str]
) -> list[BucketMount]:
    """Return the buckets for the server, where secret_id says what a secret is called."""
    from .bucket import CloudBucketMount

    return [
        mounted._message(path, "" if mounted.secret is None else secret_id(mounted.secret))
        for path, mounted in volumes.items()
        if isinstance(mounted, CloudBucketMount)
    ]
