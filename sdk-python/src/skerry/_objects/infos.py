"""What is told of objects with names, without what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class DictInfo:
    """A dict, without what it holds."""

    name: str | None
    """Its name; None: it has none."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """Name of the token that made it."""


@dataclass(frozen=True)
class QueueInfo:
    """A queue, without what it holds."""

    name: str | None
    """Its name; None: it has none."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """Name of the token that made it."""


class SecretInfo(NamedTuple):
    """What is told of a secret; never its values."""

    name: str
    """Its name."""
    created_at: datetime
    """When it was made, in UTC."""
    created_by: str
    """The name of the token that made it."""
