"""Paths in volumes, checked."""

from __future__ import annotations

from typing import Any

from skerry.exception import InvalidError


def volume_path(path: Any) -> str:
    """Return a path as the server takes it: without a slash in front. Raises InvalidError for one with ".."."""
    text = str(path)
    if ".." in text.split("/"):
        raise InvalidError(f"path {text!r}: '..' leads out of what a volume has; name the path from the volume's root")
    return text.strip("/")


def no_pattern(path: Any) -> str:
    """Return the same for a path that might have been meant as a pattern. Raises InvalidError."""
    if str(path).endswith("*"):
        raise InvalidError(f"path {str(path)!r}: patterns are not supported; list the folder, recursively if need be")
    return volume_path(path)


def remote_file(path: Any) -> str:
    """Return where a file is to be put. Raises ValueError for a folder's path."""
    text = str(path)
    if text.endswith("/"):
        raise ValueError(f"remote path {text!r} ends with '/': name the file, not its folder")
    if not (found := volume_path(text)):
        raise ValueError(f"remote path {text!r} is the volume itself: name the file")
    return found
