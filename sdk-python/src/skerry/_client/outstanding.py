"""A call that the session carries: what all kinds of them have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._context import current_input_id
from skerry._names import new_call_id

if TYPE_CHECKING:
    from skerry._gen.skerry.v1.call_pb import CallKind, CallState, Input, Items, Output, Watch
    from skerry.exception import Error


class Call:
    """A call as the session sees it. Its methods are called from the reader thread and must not block.

    Attributes:
        call_id: "fc-...".
        function_id: what it runs, "fu-...".
        kind: what its caller does with it.
        parent: the input that makes it, "in-..."; empty outside containers.
        unfinished: inputs without an output, by index; those of a SPAWN call only until they are accepted. The session adds, the call
            removes.
        seen: how many items of a generator its reader has.
    """

    __slots__ = ("call_id", "function_id", "kind", "parent", "seen", "unfinished")

    def __init__(self, function_id: str, kind: CallKind, call_id: str | None = None) -> None:
        self.call_id = call_id or new_call_id()
        self.function_id = function_id
        self.kind = kind
        self.parent = current_input_id() or ""
        self.unfinished: dict[int, Input] = {}
        self.seen = 0

    def deliver(self, outputs: list[Output]) -> None:
        """Take outputs. One that was seen before a break may come again."""

    def deliver_items(self, items: Items) -> None:
        """Take items of a generator. Those that were seen before a break may come again."""

    def accept(self, indexes: list[int]) -> None:
        """Learn that inputs are recorded (SPAWN only)."""

    def learn(self, state: CallState) -> None:
        """Learn where a watched call stands."""

    def fail(self, error: Error) -> None:
        """Learn that no output will come."""
        raise NotImplementedError

    def watch(self) -> Watch | None:
        """Return the Watch that gets the outputs still missing; None for a call that is not watched."""
        return None
