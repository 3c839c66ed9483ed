"""Finds the user's function."""

from __future__ import annotations

import sys

from .values import load_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def load(start: dict[str, Any], serialized: bytes | bytearray) -> Callable[..., Any]:
    """Return the function that the host named. Raises whatever user code raises when it is imported."""
    if start["has_serialized"]:
        return _raw(load_function(serialized))
    module, qualname = start["module"], start["qualname"]
    __import__(module)  # importlib.import_module without importlib
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name, None)
        if found is None:
            from skerry.exception import ExecutionError

            raise ExecutionError(
                f"module {module!r} in the container has no {qualname!r}: is it defined under a condition that is "
                "false there, or inside a function? Such a function needs serialized=True"
            )
    return _raw(found)


def _raw(found: Any) -> Callable[..., Any]:
    """Return the function inside an SDK's handle; anything else that can be called as it is."""
    get = getattr(found, "get_raw_f", None)
    function = get() if callable(get) else found
    if not callable(function):
        from skerry.exception import ExecutionError

        raise ExecutionError(f"{type(found).__name__} {found!r} is no function")
    return function
