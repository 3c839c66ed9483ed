"""What a container runs that somebody wants a shell in."""

from __future__ import annotations


def hold() -> None:
    """Do nothing: the container is what is wanted."""
