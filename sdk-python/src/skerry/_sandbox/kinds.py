"""What becomes of the output of a process."""

from __future__ import annotations

from enum import Enum


class StreamType(Enum):
    """What becomes of a stream of output of ``Sandbox.exec``."""

    PIPE = -1
    """It can be read."""
    DEVNULL = -2
    """It is thrown away."""
    STDOUT = -3
    """It is printed here as it comes."""

    def __repr__(self) -> str:
        return f"{self.__module__}.{self.__class__.__name__}.{self.name}"
