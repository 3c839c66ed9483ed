"""Plain values that volumes return."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datetime import datetime


class FileEntryType(IntEnum):
    """What an entry of a volume is."""

    UNSPECIFIED = 0
    """Unknown."""
    FILE = 1
    """A regular file."""
    DIRECTORY = 2
    """A folder."""
    SYMLINK = 3
    """A symbolic link."""
    FIFO = 4
    """A named pipe."""
    SOCKET = 5
    """A socket."""


@dataclass(frozen=True)
class FileEntry:
    """A file or folder in a volume."""

    path: str
    """Where it is, from the volume's root, without a slash in front."""
    type: FileEntryType
    """What it is."""
    mtime: int
    """When its content was last changed, in seconds since 1970."""
    size: int
    """Bytes of a file."""


@dataclass(frozen=True)
class VolumeInfo:
    """A volume, without what it holds."""

    name: str | None
    """Its name; None: it has none."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """Name of the token that made it."""


@dataclass(frozen=True)
class VolumeVersion:
    """A version of a volume."""

    version: int
    """Its number; 1 is the empty one that a volume begins with."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """Name of the token, or id of the container, that made it."""
    num_files: int
    """Files in it."""
    num_bytes: int
    """Bytes of all files."""
    reason: str
    """What made it, such as "upload", "commit" or "restore 3"."""


class VolumeCreateOptions(TypedDict, total=False):
    """Options of a new volume."""

    experimental_options: dict[str, object]
    """There are none so far."""
