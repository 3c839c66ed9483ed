"""Blocking methods with an asynchronous twin.

``@twin`` makes a method that blocks, with ``.aio`` beside it::

    class Thing:
        @twin
        def fetch(self, key: str) -> bytes: ...

    thing.fetch("a")            # blocks
    await thing.fetch.aio("a")  # runs the same in a thread

A method on a hot path brings its own coroutine with ``@fetch.native``. Type checkers see both forms with all parameters.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    S = TypeVar("S")
    P = ParamSpec("P")
    R = TypeVar("R")
else:
    S = P = R = None

    class Generic:
        """Stand in for typing.Generic: importing typing would cost every container a few milliseconds."""

        def __class_getitem__(cls, _params: object) -> type:
            return cls

    def overload(f: object) -> object:
        """Stand in for typing.overload, which is only of use to type checkers."""
        return f


# Methods that don't hold an event loop up but refuse to, for they draw their inputs in it.
_REFUSING = frozenset({"for_each", "spawn_map", "experimental_spawn_map"})


def in_event_loop() -> bool:
    """Tell whether the calling thread runs an event loop at this moment, which a call that blocks would hold up.

    The loop that runs the cells of a notebook waits for the cell anyway.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return False
    from ._notebook import in_cells

    return not in_cells()


def warn_if_in_event_loop(name: str, instead: str = "") -> None:
    """Warn the user whose event loop the blocking form of ``name`` is about to hold up, and say what to use instead: by default its aio."""
    if not in_event_loop() or name.rpartition(".")[2] in _REFUSING:
        return
    import warnings

    from .config import config
    from .exception import AsyncUsageWarning

    if config.async_warnings:
        warnings.warn(
            f"{name}() blocks the event loop that it is called in; use `{instead or f'await {name}.aio(...)'}`",
            AsyncUsageWarning,
            stacklevel=3,
        )


class BoundTwin(Generic[P, R]):
    """A method of one object: call it to block, or await its ``aio``."""

    __slots__ = ("_blocking", "_native", "_owner")

    def __init__(
        self, owner: Any, blocking: Callable[..., R], native: Callable[..., Coroutine[Any, Any, R]] | None
    ) -> None:
        self._owner = owner
        self._blocking = blocking
        self._native = native

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:

        def __call__(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN204
            if "asyncio" in sys.modules:
                warn_if_in_event_loop(self._blocking.__qualname__)
            return self._blocking(self._owner, *args, **kwargs)

        def aio(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN202
            """Do the same without blocking the event loop."""
            if self._native is not None:
                return self._native(self._owner, *args, **kwargs)
            import asyncio

            return asyncio.to_thread(self._blocking, self._owner, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._blocking.__qualname__} of {self._owner!r}, with .aio>"


class twin(Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Descriptor that gives a blocking method its asynchronous twin."""

    def __init__(self, blocking: Callable[Concatenate[S, P], R]) -> None:
        self._blocking = blocking
        self._native: Callable[Concatenate[S, P], Coroutine[Any, Any, R]] | None = None
        self.__doc__ = blocking.__doc__
        self.__name__ = blocking.__name__
        self.__wrapped__ = blocking

    def native(self, coroutine: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> Callable[..., Any]:
        """Use ``coroutine`` for ``.aio`` instead of the blocking form in a thread."""
        self._native = coroutine
        return coroutine

    @overload
    def __get__(self, obj: None, owner: type[S]) -> twin[S, P, R]: ...
    @overload
    def __get__(  # noqa: F811 - ruff does not see through the stand-in
        self, obj: S, owner: type[S] | None = None
    ) -> BoundTwin[P, R]: ...
    def __get__(  # noqa: F811 - see above
        self, obj: S | None, owner: type[S] | None = None
    ) -> twin[S, P, R] | BoundTwin[P, R]:
        """Bind to an object."""
        if obj is None:
            return self
        return BoundTwin(obj, self._blocking, self._native)


class BoundGeneratorTwin(BoundTwin[P, R]):
    """A generator method of one object: call it for a loop, or its ``aio`` for an asynchronous loop."""

    __slots__ = ()

    if TYPE_CHECKING:

        def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]: ...  # pyright: ignore[reportIncompatibleMethodOverride]


class generator_twin(Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Descriptor that gives a method for loops its asynchronous twin, which :meth:`native` brings."""

    def __init__(self, blocking: Callable[Concatenate[S, P], R]) -> None:
        self._blocking = blocking
        self._native: Any = None
        self.__doc__ = blocking.__doc__
        self.__name__ = blocking.__name__
        self.__wrapped__ = blocking

    def native(self, generator: Callable[Concatenate[S, P], AsyncIterator[Any]]) -> Callable[..., Any]:
        """Use an asynchronous generator for ``.aio``."""
        self._native = generator
        return generator

    @overload
    def __get__(self, obj: None, owner: type[S]) -> generator_twin[S, P, R]: ...
    @overload
    def __get__(  # noqa: F811 - ruff does not see through the stand-in
        self, obj: S, owner: type[S] | None = None
    ) -> BoundGeneratorTwin[P, R]: ...
    def __get__(  # noqa: F811 - see above
        self, obj: S | None, owner: type[S] | None = None
    ) -> generator_twin[S, P, R] | BoundGeneratorTwin[P, R]:
        """Bind to an object."""
        if obj is None:
            return self
        return BoundGeneratorTwin(obj, self._blocking, self._native)


class static_twin(Generic[P, R]):  # noqa: N801 - used as a decorator
    """A static method with an asynchronous twin."""

    def __init__(self, blocking: Callable[P, R]) -> None:
        self._blocking = blocking
        self._native: Callable[P, Coroutine[Any, Any, R]] | None = None
        self.__doc__ = blocking.__doc__
        self.__name__ = blocking.__name__
        self.__wrapped__ = blocking

    def native(self, coroutine: Callable[P, Coroutine[Any, Any, R]]) -> Callable[..., Any]:
        """Use ``coroutine`` for ``.aio`` instead of the blocking form in a thread."""
        self._native = coroutine
        return coroutine

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:

        def __call__(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN204
            if "asyncio" in sys.modules:
                warn_if_in_event_loop(self._blocking.__qualname__)
            return self._blocking(*args, **kwargs)

        def aio(self, *args, **kwargs):  # noqa: ANN002, ANN003, ANN202
            """Do the same without blocking the event loop."""
            if self._native is not None:
                return self._native(*args, **kwargs)
            import asyncio

            return asyncio.to_thread(self._blocking, *args, **kwargs)
