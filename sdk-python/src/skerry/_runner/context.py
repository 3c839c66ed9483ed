"""Which input the code is running for. The SDK reads it through sys.modules."""

from __future__ import annotations

from contextvars import ContextVar, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class InputContext:
    """An input: its id as users see it ("in-...-0") and its call's ("fc-..."). Unpacks to the two."""

    __slots__ = ("call_id", "index")

    def __init__(self, call_id: str, index: int) -> None:
        self.call_id = call_id
        self.index = index

    @property
    def input_id(self) -> str:
        """The input's id. Made when it is asked for: most inputs never do."""
        return f"in-{self.call_id.removeprefix('fc-')}-{self.index}"

    def __iter__(self) -> Iterator[str]:
        yield self.input_id
        yield self.call_id


_current: ContextVar[InputContext | None] = ContextVar("skerry_input", default=None)
_alone: InputContext | None = None

inputs: Any = None
"""Who runs inputs here, for ``control``; None outside a container."""

on_leave: Callable[[InputContext], None] | None = None
"""Called with each input that ends."""

wrote = False
"""Whether anything was written to the standard streams since the input began that runs alone."""

function: Any = None
"""The function whose container this is, as its module defines it; None outside a container, and while the module is imported."""

slots: int | None = None
"""How many inputs hooks want to have at a time, before there are inputs; 0: none."""

started: dict[str, Any] = {}
"""What the host said at the start: module, qualname, app_id, app_name, function_id, function_name, function_ids,
environment, container_id, class and the rest. Empty outside a container."""


def current() -> InputContext | None:
    """Return the input that the calling code runs for, or None."""
    return _current.get()


def writer() -> InputContext | None:
    """Return the input whose output it is that the calling code writes: its own or, in a thread that it started, the one that runs."""
    return _current.get() or _alone


def alone() -> InputContext | None:
    """Return the input that runs, if there can't be another at the time."""
    return _alone


def enter(call: str, index: int, alone: bool = True) -> Token[InputContext | None]:
    """Begin an input, of which there is no other if it is alone; the token ends it."""
    global _alone, wrote  # noqa: PLW0603 - one per process
    context = InputContext(call, index)
    if alone:
        _alone = context
        wrote = False
    return _current.set(context)


def leave(token: Token[InputContext | None]) -> None:
    """End an input."""
    global _alone  # noqa: PLW0603 - one per process
    left = _current.get()
    silent = _alone is not None and not wrote  # as most are: there is nothing to settle
    _alone = None
    _current.reset(token)
    if left is not None and on_leave is not None and not silent:
        on_leave(left)
