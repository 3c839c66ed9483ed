"""Finds the user's function or class."""

from __future__ import annotations

import sys

from . import context
from .target import Target
from .values import load_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def load(start: dict[str, Any], serialized: bytes | bytearray) -> Target:
    """Return what the host named, an instance made. Raises whatever user code raises when it is imported."""
    found = load_function(serialized) if start["has_serialized"] else _find(start["module"], start["qualname"])
    context.function = getattr(found, "_service", found)
    if start.get("class") is not None:
        return _instance(found, start)
    return Target({"": (_raw(found), bool(start.get("generator")))})


def _find(module: str, qualname: str) -> Any:
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
    return found


def _instance(found: Any, start: dict[str, Any]) -> Target:
    from skerry._objects import lifecycle

    cls = lifecycle.user_class(found)
    spec = start["class"]
    constructor = _bytes(spec["constructor"]) if spec["constructor"] else None
    parameters = {p["name"]: _bytes(p["value"]) if p["type"] == 3 else p["value"] for p in spec["parameters"]}
    instance = lifecycle.construct(cls, parameters, constructor)
    raw = lifecycle.methods(cls)
    calls = {m["name"]: (_bind(raw, m["name"], instance), bool(m["generator"])) for m in spec["methods"]}
    enter = [hook.__get__(instance) for snap in (True, False) for hook in lifecycle.enter_hooks(cls, snap)]
    return Target(calls, enter, [lifecycle.bind_exit(hook, instance) for hook in lifecycle.exit_hooks(cls)])


def _bind(raw: dict[str, Any], name: str, instance: Any) -> Callable[..., Any]:
    if name not in raw:
        from skerry.exception import ExecutionError

        raise ExecutionError(
            f"class {type(instance).__name__!r} in the container has no method {name!r}: is it another version of it?"
        )
    return raw[name].__get__(instance)


def _bytes(text: str) -> bytes:
    from binascii import a2b_base64

    return a2b_base64(text)


def _raw(found: Any) -> Callable[..., Any]:
    """Return the function inside an SDK's handle; anything else that can be called as it is."""
    get = getattr(found, "get_raw_f", None)
    function = get() if callable(get) else found
    if not callable(function):
        from skerry.exception import ExecutionError

        raise ExecutionError(f"{type(found).__name__} {found!r} is no function")
    return function
