"""Which input the code is running for. The SDK reads it through sys.modules."""

from __future__ import annotations

from contextvars import ContextVar, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class InputContext:
    """An input: its id as users see it ("in-...-0") and its call's ("fc-..."). Unpacks to the two."""

    __slots__ = ("call_id", "input_id")

    def __init__(self, input_id: str, call_id: str) -> None:
        self.input_id = input_id
        self.call_id = call_id

    def __iter__(self) -> Iterator[str]:
        yield self.input_id
        yield self.call_id


_current: ContextVar[InputContext | None] = ContextVar("skerry_input", default=None)

started: dict[str, object] = {}
"""What the host said at the start: module, qualname, app_id, app_name, function_id, function_name, function_ids,
environment, container_id. Empty outside a container."""


def current() -> InputContext | None:
    """Return the input that the calling code runs for, or None."""
    return _current.get()


def enter(call: str, index: int) -> Token[InputContext | None]:
    """Begin an input; the token ends it."""
    return _current.set(InputContext(f"in-{call.removeprefix('fc-')}-{index}", call))


def leave(token: Token[InputContext | None]) -> None:
    """End an input."""
    _current.reset(token)
