"""Functions that run while images are built."""

from pathlib import Path

import skerry

WORDS = ["written", "by", "a", "function"]


def write(path: str, *, end: str) -> None:
    """Leave a file, and say so."""
    Path(path).write_text(" ".join(WORDS) + end)
    print("local" if skerry.is_local() else "not local")


def fail() -> None:
    """Raise."""
    raise ValueError("on purpose")
