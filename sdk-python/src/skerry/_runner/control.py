"""What code in a container may ask of its container. The SDK's experimental module calls it."""

from __future__ import annotations

from . import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Inputs(Protocol):
        slots: int
        most: int

        def active(self) -> int: ...
        def tell_slots(self, n: int) -> None: ...


def stop_fetching_inputs() -> None:
    """Have the container finish the inputs it has and end. Raises RuntimeError outside a container."""
    inputs = _running()
    if inputs is None:
        context.slots = 0
    else:
        inputs.tell_slots(0)


def get_local_input_concurrency() -> int:
    """Return how many inputs the container takes at a time. Raises RuntimeError outside a container."""
    inputs = _running()
    if inputs is None:
        return context.slots or _most()
    return max(inputs.active(), inputs.slots)


def set_local_input_concurrency(n: int) -> None:
    """Take n inputs at a time from now on, at most max_inputs. Raises RuntimeError outside a container, ValueError below 1."""
    if n < 1:
        raise ValueError(f"concurrency {n}: want 1 or more")
    inputs = _running()
    if inputs is None:
        context.slots = min(n, _most())
        return
    inputs.slots = min(n, inputs.most)
    inputs.tell_slots(inputs.slots)


def _running() -> Inputs | None:
    """Return who runs inputs here; None until the enter hooks have run."""
    if not context.started:
        raise RuntimeError("this can only be called in a container that runs a function")
    return context.inputs


def _most() -> int:
    return context.started.get("max_inputs", 1)
