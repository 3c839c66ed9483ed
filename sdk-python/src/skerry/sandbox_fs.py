"""The files of sandboxes."""

from ._sandbox.files import SandboxFilesystem
from .types import FileInfo, FileType, FileWatchEvent, FileWatchEventType

__all__ = ["FileInfo", "FileType", "FileWatchEvent", "FileWatchEventType", "SandboxFilesystem"]
