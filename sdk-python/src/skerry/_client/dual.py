"""Methods that are written once, as coroutines of the loop in the background, and have a blocking form and an ``.aio``.

::

    class Thing:
        @dual
        async def fetch(self, key: str) -> bytes: ...

        @dual_iterator
        async def watch(self) -> AsyncIterator[str]: ...

    thing.fetch("a")                          # blocks; Ctrl-C gives the request up
    await thing.fetch.aio("a")                # so does cancelling the task
    for line in thing.watch(): ...
    async for line in thing.watch.aio(): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from skerry._twin import BoundGeneratorTwin, BoundTwin

from . import background
from .feed import Feed, Ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


class dual(Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Descriptor that makes a coroutine method one that blocks, with ``.aio``."""

    def __init__(self, coroutine: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self._coroutine = coroutine
        self.__doc__ = coroutine.__doc__
        self.__name__ = coroutine.__name__
        self.__wrapped__ = coroutine

        def blocking(owner: S, *args: P.args, **kwargs: P.kwargs) -> R:
            return background.run(coroutine(owner, *args, **kwargs))

        async def native(owner: S, *args: P.args, **kwargs: P.kwargs) -> R:
            return await background.run_aio(coroutine(owner, *args, **kwargs))

        blocking.__qualname__ = coroutine.__qualname__
        self._blocking: Callable[..., R] = blocking
        self._native: Callable[..., Coroutine[Any, Any, R]] = native

    @overload
    def __get__(self, obj: None, owner: type[S]) -> dual[S, P, R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S] | None = None) -> BoundTwin[P, R]: ...
    def __get__(self, obj: S | None, owner: type[S] | None = None) -> dual[S, P, R] | BoundTwin[P, R]:
        """Bind to an object."""
        if obj is None:
            return self
        return BoundTwin(obj, self._blocking, self._native)


class static_dual(Generic[P, R]):  # noqa: N801 - used as a decorator
    """The same for a static method."""

    def __init__(self, coroutine: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self._coroutine = coroutine
        self.__doc__ = coroutine.__doc__
        self.__name__ = coroutine.__name__
        self.__wrapped__ = coroutine

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Block."""
        from skerry._twin import warn_if_in_event_loop

        warn_if_in_event_loop(self._coroutine.__qualname__)
        return background.run(self._coroutine(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same without blocking the event loop."""
        return await background.run_aio(self._coroutine(*args, **kwargs))


class dual_iterator(Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Descriptor that makes an asynchronous generator one for loops, with ``.aio`` for asynchronous loops.

    What is iterated over begins when it is called, not with the first step. One that yields :class:`Ready` first is waited for until
    then: by the call, or where it is entered with ``async with``.
    """

    def __init__(self, generator: Callable[Concatenate[S, P], AsyncIterator[R | Ready]]) -> None:
        self.__doc__ = generator.__doc__
        self.__name__ = generator.__name__
        self.__wrapped__ = generator

        def begin(owner: S, *args: P.args, **kwargs: P.kwargs) -> Feed[R]:
            return Feed(lambda: generator(owner, *args, **kwargs))

        def begin_ready(owner: S, *args: P.args, **kwargs: P.kwargs) -> Feed[R]:
            return begin(owner, *args, **kwargs).wait_ready()

        begin_ready.__qualname__ = generator.__qualname__
        self._begin: Callable[..., Any] = begin
        self._begin_ready: Callable[..., Any] = begin_ready

    @overload
    def __get__(self, obj: None, owner: type[S]) -> dual_iterator[S, P, R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S] | None = None) -> BoundGeneratorTwin[P, Feed[R]]: ...
    def __get__(
        self, obj: S | None, owner: type[S] | None = None
    ) -> dual_iterator[S, P, R] | BoundGeneratorTwin[P, Feed[R]]:
        """Bind to an object."""
        if obj is None:
            return self
        return BoundGeneratorTwin(obj, self._begin_ready, self._begin)


class static_dual_iterator(Generic[P, R]):  # noqa: N801 - used as a decorator
    """The same for a static method."""

    def __init__(self, generator: Callable[P, AsyncIterator[R | Ready]]) -> None:
        self._generator = generator
        self.__doc__ = generator.__doc__
        self.__name__ = generator.__name__
        self.__wrapped__ = generator

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Feed[R]:
        """Iterate."""
        return Feed(lambda: self._generator(*args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Feed[R]:
        """Iterate in an event loop."""
        return Feed(lambda: self._generator(*args, **kwargs))
