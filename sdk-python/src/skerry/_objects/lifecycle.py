"""A user's class as containers see it: how an instance is made, its hooks and its remote methods."""

from __future__ import annotations

from skerry.exception import ExecutionError

from .partial import ENTER, ENTER_SNAP, EXIT, METHOD, PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# What (args, kwargs) as CBOR begins with: a list of two. A pickle begins with 0x80.
_CBOR_PAIR = 0x82


def user_class(handle: Any) -> type:
    """Return the class that a handle stands for; a class stands for itself."""
    cls = getattr(handle, "_user_cls", handle)
    if not isinstance(cls, type):
        raise ExecutionError(f"{type(handle).__name__} {handle!r} is no class")
    return cls


def construct(cls: type, parameters: dict[str, Any], constructor: bytes | None) -> Any:
    """Return an instance: made by its own constructor with (args, kwargs), a pickle or CBOR, or with parameters as attributes."""
    if constructor:
        if constructor[0] == _CBOR_PAIR:
            from skerry._cbor import loads
        else:
            from pickle import loads
        args, kwargs = loads(constructor)
        return cls(*args, **kwargs)
    if "__init__" in vars(cls) and not parameters:
        return cls()
    new: Any = cls.__new__
    instance: Any = new(cls)
    for name, value in parameters.items():
        instance.__dict__[name] = value
    return instance


def enter_hooks(cls: type, snap: bool) -> list[Callable[..., Any]]:
    """Return the enter hooks, base classes first, in the order of definition; those before a snapshot, or those after."""
    return list(marked(cls, ENTER_SNAP if snap else ENTER).values())


def exit_hooks(cls: type) -> list[Callable[..., Any]]:
    """Return the exit hooks in the same order."""
    return list(marked(cls, EXIT).values())


def bind_exit(hook: Callable[..., Any], instance: Any) -> Callable[[], Any]:
    """Return an exit hook of an instance. One with three parameters gets them as ``__exit__`` would where nothing was raised."""
    bound: Callable[..., Any] = hook.__get__(instance)
    code = getattr(hook, "__code__", None)
    if code is not None and code.co_argcount - len(getattr(hook, "__defaults__", None) or ()) == 4:
        return lambda: bound(None, None, None)
    return bound


def methods(cls: type) -> dict[str, Callable[..., Any]]:
    """Return the remote methods by name."""
    return marked(cls, METHOD)


def marked(cls: type, what: int) -> dict[str, Callable[..., Any]]:
    """Return the functions with a mark by name. An override takes the place of what it overrides."""
    return {name: found.raw for name, found in partials(cls, what).items()}


def partials(cls: type, what: int) -> dict[str, PartialFunction]:
    """Return the marked functions of a class and its bases."""
    found: dict[str, PartialFunction] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, PartialFunction) and value.marks & what:
                found[name] = value
            else:
                found.pop(name, None)  # overridden by what has no such mark
    return found


def run_here(value: Any) -> Any:
    """Return what a hook returned, awaited where that is a coroutine; in a thread of its own where an event loop runs."""
    if not hasattr(value, "__await__"):
        return value
    import asyncio

    from skerry._twin import in_event_loop

    async def awaited() -> Any:
        return await value

    if not in_event_loop():
        return asyncio.run(awaited())
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, awaited()).result()
