"""Which input the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar


class Context:
    """One input: its ids, as users see them."""

    __slots__ = ("call_id", "index", "input_id")

    def __init__(self, call_id: str, index: int) -> None:
        self.call_id = call_id
        self.index = index
        self.input_id = f"in-{call_id[3:]}-{index}"


variable: ContextVar[Context | None] = ContextVar("skerry_input", default=None)


def current() -> Context | None:
    """Return the input that the calling code runs for, or None outside one."""
    return variable.get()
