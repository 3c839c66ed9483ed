"""What becomes of the output of processes in sandboxes."""

from ._sandbox.kinds import StreamType

__all__ = ["StreamType"]
