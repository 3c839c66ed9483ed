"""Open files of sandboxes, and events of their files. Deprecated: use ``sandbox.filesystem``."""

from ._sandbox.file_io import FileIO
from .types import FileWatchEvent, FileWatchEventType

__all__ = ["FileIO", "FileWatchEvent", "FileWatchEventType"]
