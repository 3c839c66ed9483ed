"""Where the code runs, and for which input."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class _Context(Protocol):
        input_id: str
        call_id: str


def is_local() -> bool:
    """Tell whether the code runs outside Skerry: False only in a container that runs a function."""
    return os.environ.get("SKERRY_IS_REMOTE") != "1"


def current_input_id() -> str | None:
    """Return the id of the input that is being run, such as "in-...-0", or None outside a container."""
    context = _current()
    return context.input_id if context is not None else None


def current_function_call_id() -> str | None:
    """Return the id of the call ("fc-...") whose input is being run, or None outside a container."""
    context = _current()
    return context.call_id if context is not None else None


def _current() -> _Context | None:
    # The runner is there, and imported, only in containers.
    context = sys.modules.get("skerry._runner.context")
    return context.current() if context is not None else None
