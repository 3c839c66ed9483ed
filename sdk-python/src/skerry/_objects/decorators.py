"""Decorators of methods and functions."""

from __future__ import annotations

from skerry.exception import InvalidError

from .partial import (
    ENTER,
    ENTER_SNAP,
    EXIT,
    LIFECYCLE,
    METHOD,
    Batching,
    Concurrency,
    mark,
    no_parentheses,
    partial,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .function import Function
    from .typed import MethodDecorator

    F = TypeVar("F")


def method(*not_allowed: object, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of an ``@app.cls()`` class one that is called remotely.

    Args:
        not_allowed: write the decorator with parentheses.
        is_generator: say that it is a generator where that can't be seen.
    """
    no_parentheses(not_allowed, "method")

    def decorate(raw: Any) -> Any:
        marked = mark(partial(raw, "method"), METHOD, "method")
        marked.is_generator = is_generator
        return marked

    return decorate


def enter(*not_allowed: object, snap: bool = False) -> Callable[[F], F]:
    """Run a method once in each container, before its first input. There may be several, also asynchronous ones.

    Args:
        not_allowed: write the decorator with parentheses.
        snap: before a memory snapshot is taken; needs enable_memory_snapshot=True, which is not available yet.
    """
    no_parentheses(not_allowed, "enter")
    return lambda raw: _marked(raw, ENTER_SNAP if snap else ENTER, "enter")


def exit(*not_allowed: object) -> Callable[[F], F]:  # noqa: A001 - the reference's name
    """Run a method when its container ends; it has 30 seconds."""
    no_parentheses(not_allowed, "exit")
    return lambda raw: _marked(raw, EXIT, "exit")


def _marked(raw: Any, what: int, decorator: str) -> Any:
    return mark(partial(raw, decorator), what, decorator)


def concurrent(*not_allowed: object, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Run several inputs in one container at a time: coroutines as tasks of one event loop, other functions in threads.

    Args:
        not_allowed: write the decorator with parentheses.
        max_inputs: most inputs in a container, 1 to 1000.
        target_inputs: how many the autoscaler aims at; default: max_inputs.

    For functions and classes, below ``@app.function()`` or ``@app.cls()``.
    """
    no_parentheses(not_allowed, "concurrent")
    setting = Concurrency(max_inputs, target_inputs)

    def decorate(raw: Any) -> Any:
        if isinstance(raw, type):
            if "__skerry_concurrency__" in vars(raw):
                raise InvalidError(f"@skerry.concurrent is there twice on {raw.__name__}")
            raw.__skerry_concurrency__ = setting  # pyright: ignore[reportAttributeAccessIssue]
            return raw
        marked = partial(raw, "concurrent")
        if marked.marks & METHOD and marked.batching is None:
            raise InvalidError(
                "@skerry.concurrent is for functions and classes: put it on the class instead of the method"
            )
        if marked.marks & LIFECYCLE:
            raise InvalidError(f"{marked.__name__}: a hook takes no inputs, so it can't be concurrent")
        if marked.concurrency is not None:
            raise InvalidError(f"@skerry.concurrent is there twice on {marked.__name__}")
        marked.concurrency = setting
        return marked

    return decorate


def batched(
    *not_allowed: object, max_batch_size: int, wait_ms: int
) -> Callable[[Callable[..., Any]], Function[..., Any]]:
    """Give the function lists, made of the arguments of several inputs; it returns a list of as many results.

    Args:
        not_allowed: write the decorator with parentheses.
        max_batch_size: most inputs together, 1 to 1000.
        wait_ms: how long the first input waits for others at most, in milliseconds, 0 to 600000.
    """
    no_parentheses(not_allowed, "batched")
    setting = Batching(max_batch_size, wait_ms)

    def decorate(raw: Any) -> Any:
        marked = partial(raw, "batched")
        if marked.marks & LIFECYCLE:
            raise InvalidError(f"{marked.__name__}: a hook takes no inputs, so it can't be batched")
        if marked.batching is not None:
            raise InvalidError(f"@skerry.batched is there twice on {marked.__name__}")
        code = getattr(marked.raw, "__code__", None)
        if code is not None and code.co_flags & 0x0220 and not code.co_flags & 0x0080:
            raise InvalidError(f"{marked.__name__}: generators can't be batched")
        if getattr(marked.raw, "__defaults__", None) or getattr(marked.raw, "__kwdefaults__", None):
            raise InvalidError(
                f"{marked.__name__}: the parameters of a batched function have no defaults: every input gives all"
            )
        marked.batching = setting
        marked.marks |= METHOD  # of a class it is one; of a function this says nothing
        return marked

    return decorate


_NONE: Any = object()


class Parameter:
    """A declared parameter of a class. Instances have its value as an attribute."""

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init
        self.name = ""

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is _NONE

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.default is _NONE:
            raise AttributeError(f"parameter {self.name!r} has no value: it has no default and was not given")
        return self.default


def parameter(*, default: Any = _NONE, init: bool = True) -> Any:
    """Declare a parameter of an ``@app.cls()`` class, with an annotation: ``size: int = skerry.parameter(default=3)``.

    Each set of values has containers of its own. Types are str, int, bytes and bool.

    Args:
        default: its value where none is given; without one it must be given.
        init: False for an attribute that is not given but set by the class itself.
    """
    return Parameter(default, init)
