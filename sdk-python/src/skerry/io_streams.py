"""Streams of processes in sandboxes."""

from ._sandbox.reader import StreamReader
from ._sandbox.writer import StreamWriter

__all__ = ["StreamReader", "StreamWriter"]
