"""Where the code runs, and for which input."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ._objects.app import App

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


def interact() -> None:
    """Attach the terminal of ``skerry run -i`` to this code, until its input ends.

    Raises InvalidError where the code does not run in a container, or not interactively.
    """
    if not started().get("interactive"):
        from skerry.exception import InvalidError

        raise InvalidError(
            "cannot use skerry.interact() without running Skerry in interactive mode: it needs `skerry run -i` and a container"
        )
    from skerry._runner.interaction import attach

    attach()


def started() -> dict[str, Any]:
    """Return what the host said when it started this container; empty outside of one."""
    context = sys.modules.get("skerry._runner.context")
    return context.started if context is not None else {}


def of_this_container(apps: list[App]) -> bool:
    """Tell whether one of the apps is the container's, as far as that is known: a module may define several."""
    context = sys.modules.get("skerry._runner.context")
    own: list[App] = getattr(context.function, "_apps", []) if context is not None else []
    return not own or any(app in own for app in apps)


def _current() -> _Context | None:
    # The runner is there, and imported, only in containers.
    context = sys.modules.get("skerry._runner.context")
    return context.current() if context is not None else None
