"""Finds the user's function."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def load(module: str, qualname: str) -> Callable[..., Any]:
    """Import a module and return the function behind a qualified name in it.

    What is found may be the function itself or Skerry's handle of it.
    """
    __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
        if found is None:
            from skerry.exception import ExecutionError

            raise ExecutionError(
                f"module {module!r} has no {qualname!r} in the container; "
                "is it defined under a condition that only holds locally?"
            )
    return unwrap(found)


def unwrap(found: Any) -> Callable[..., Any]:
    """Return the plain function that a handle stands for."""
    raw: Callable[[], Callable[..., Any]] | None = getattr(found, "get_raw_f", None)
    return raw() if raw is not None else found
