"""What decorators of methods and functions leave behind for @app.function and @app.cls to read."""

from __future__ import annotations

from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What a mark says of a function.
METHOD, ENTER, ENTER_SNAP, EXIT = 1, 2, 4, 8
LIFECYCLE = ENTER | ENTER_SNAP | EXIT


class Batching:
    """``@skerry.batched``: at most so many inputs together, the first of which waits at most so many milliseconds."""

    __slots__ = ("max_batch_size", "wait_ms")

    def __init__(self, max_batch_size: int, wait_ms: int) -> None:
        if type(max_batch_size) is not int or not 1 <= max_batch_size <= 1000:
            raise InvalidError(f"max_batch_size={max_batch_size!r}: want a whole number from 1 to 1000")
        if type(wait_ms) is not int or not 0 <= wait_ms <= 600_000:
            raise InvalidError(f"wait_ms={wait_ms!r}: want a whole number of milliseconds from 0 to 600000")
        self.max_batch_size = max_batch_size
        self.wait_ms = wait_ms


class Concurrency:
    """``@skerry.concurrent``: at most so many inputs in a container; the autoscaler aims at target_inputs."""

    __slots__ = ("max_inputs", "target_inputs")

    def __init__(self, max_inputs: int, target_inputs: int | None) -> None:
        if type(max_inputs) is not int or not 1 <= max_inputs <= 1000:
            raise InvalidError(f"max_inputs={max_inputs!r}: want a whole number from 1 to 1000")
        if target_inputs is not None and (type(target_inputs) is not int or not 1 <= target_inputs <= max_inputs):
            raise InvalidError(
                f"target_inputs={target_inputs!r}: want a whole number from 1 to max_inputs, {max_inputs}"
            )
        self.max_inputs = max_inputs
        self.target_inputs = target_inputs


class PartialFunction:
    """A function with marks. In a class it turns into a bound method of the instance."""

    def __init__(self, raw: Callable[..., Any]) -> None:
        self.raw = raw
        self.marks = 0
        self.is_generator: bool | None = None
        self.concurrency: Concurrency | None = None
        self.batching: Batching | None = None
        self.__doc__ = raw.__doc__
        self.__name__ = getattr(raw, "__name__", "")
        self.__qualname__ = getattr(raw, "__qualname__", "")
        self.__module__ = raw.__module__
        self.__wrapped__ = raw

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if not self.marks & METHOD:
            return self.raw.__get__(instance, owner)
        from .cls import BoundMethod

        return BoundMethod(self.raw.__get__(instance, owner), instance, self.__name__)

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        raise InvalidError(
            f"{self.__name__} is marked by a decorator of Skerry and can't be called by itself: "
            "put @app.function() above it, or @app.cls() above its class"
        )


def partial(obj: object, decorator: str) -> PartialFunction:
    """Return an object's marks, made if there are none. Raises InvalidError for what can't be marked."""
    if isinstance(obj, PartialFunction):
        return obj
    from .cls import Cls
    from .function import Function

    if isinstance(obj, Function):
        raise InvalidError(f"@skerry.{decorator} is above @app.function(): put it below, nearest to the def")
    if isinstance(obj, Cls):
        raise InvalidError(f"@skerry.{decorator} is above @app.cls(): put it below, nearest to the class")
    if isinstance(obj, type):
        raise InvalidError(f"@skerry.{decorator} is for functions and methods, and {obj.__name__} is a class")
    if not callable(obj):
        raise InvalidError(
            f"@skerry.{decorator}: want a function, got {type(obj).__name__}; are the parentheses missing?"
        )
    return PartialFunction(obj)


def no_parentheses(args: tuple[object, ...], decorator: str) -> None:
    """Raise InvalidError where a decorator was used without its parentheses, or with positional arguments."""
    if args:
        raise InvalidError(
            f"write @skerry.{decorator}(...) with parentheses and keyword arguments: positional ones are not supported"
        )


def mark(marked: PartialFunction, what: int, decorator: str) -> PartialFunction:
    """Add a mark. Raises InvalidError for marks that exclude one another."""
    if marked.marks & what:
        raise InvalidError(f"@skerry.{decorator} is there twice on {marked.__name__}")
    together = marked.marks | what
    if together & METHOD and together & LIFECYCLE:
        raise InvalidError(
            f"{marked.__name__} can't be both a remote method and a hook of the container's start or end"
        )
    if together & LIFECYCLE and (marked.batching is not None or marked.concurrency is not None):
        raise InvalidError(f"{marked.__name__}: a hook takes no inputs, so it can be neither batched nor concurrent")
    marked.marks = together
    return marked
