"""What inputs call: a function, or the methods of the one instance of a class."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .aio import Loop

    Call = tuple[Callable[..., Any], bool]

_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200  # of a code object's flags


PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple, set})
"""Types of values that are neither generators nor to be awaited: most values need no closer look."""


class Target:
    """Calls by method name (of a function: ""), each with whether it is a generator, and the hooks around them."""

    def __init__(
        self,
        calls: dict[str, Call],
        enter: list[Callable[[], Any]] | None = None,
        leave: list[Callable[[], Any]] | None = None,
    ) -> None:
        self._calls = calls
        self._enter = enter or []
        self._exit = leave or []
        self._loop: Loop | None = None

    def find(self, method: str) -> Call:
        """Return what an input calls. Raises ExecutionError for a method that the class does not have."""
        call = self._calls.get(method)
        if call is None:
            from skerry.exception import ExecutionError

            raise ExecutionError(
                f"the class in the container has no remote method {method!r}: is it another version of it?"
            )
        return call

    def asynchronous(self) -> bool:
        """Tell whether any of the calls is a coroutine function or an asynchronous generator."""
        return any(_flags(function) & (_COROUTINE | _ASYNC_GENERATOR) for function, _ in self._calls.values())

    def loop(self) -> Loop:
        """Return the one event loop of hooks and inputs."""
        if self._loop is None:
            from .aio import Loop

            self._loop = Loop()
        return self._loop

    def enter(self) -> None:
        """Run the enter hooks. Raises what they raise."""
        for hook in self._enter:
            value = hook()
            if hasattr(value, "__await__"):
                self.loop().run(value)
        detach_terminal()

    def leave(self) -> None:
        """Run the exit hooks, each whatever becomes of the others, and close the loop."""
        for hook in self._exit:
            try:
                value = hook()
                if hasattr(value, "__await__"):
                    self.loop().run(value)
            except BaseException:  # whatever user code raises, the container ends
                import traceback

                traceback.print_exc(file=sys.stderr)
        if self._loop is not None:
            self._loop.close()


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Tell whether to call a function runs nothing of it yet, and gives a coroutine."""
    return bool(_flags(function) & _COROUTINE)


def _flags(function: Any) -> int:
    code = getattr(function, "__code__", None)  # a method has its function's
    if code is not None:
        return code.co_flags
    if hasattr(function, "func"):  # a functools.partial
        return _flags(function.func)
    code = getattr(type(function).__call__, "__code__", None)
    return 0 if code is None else code.co_flags


def check_value(value: Any, generator: bool) -> None:
    """Raise InvalidError where a function gives a generator and was not declared one, or the reverse."""
    kind = type(value).__name__
    if generator:
        if not hasattr(value, "__next__") and not hasattr(value, "__anext__"):
            from skerry.exception import InvalidError

            raise InvalidError(f"the function is declared to be a generator, and returned a value of type {kind}")
    elif kind in ("generator", "async_generator"):
        from skerry.exception import InvalidError

        raise InvalidError(
            "the function returned a generator, and is not declared to be one: use @app.function(is_generator=True) "
            "(or @skerry.method(is_generator=True)) and call it with remote_gen(), or return a list"
        )


def check_awaitable(value: Any) -> None:
    """Raise InvalidError for the coroutine that a function returned which is none itself."""
    if type(value).__name__ == "coroutine":
        from skerry.exception import InvalidError

        value.close()
        raise InvalidError(
            "the function returned a coroutine, and is not declared to be one: use async def, or run it there"
        )


def detach_terminal() -> None:
    """Give back the client's terminal if user code has borrowed it."""
    interaction = sys.modules.get("skerry._runner.interaction")
    if interaction is not None:
        interaction.detach()
