"""Methods that are written once, as coroutines, and whose blocking form runs them in the caller's own thread: for short requests.

::

    class Thing:
        @direct
        async def fetch(self, key: str) -> bytes:
            return (await ask(self._client, lambda services: services.things.fetch(FetchRequest(key=key)))).data

    thing.fetch("a")            # one request, as fast as it gets
    await thing.fetch.aio("a")  # in the loop in the background; cancelling the task gives the request up

A coroutine that is run so may await :func:`ask`, :func:`waiting` and others like itself, and nothing else. What waits long belongs into
:func:`waiting`, so that Ctrl-C ends it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar

from skerry._twin import BoundTwin, warn_if_in_event_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    from connectrpc.errors import ConnectError

    from skerry.exception import Error

    from .client import Client

    S = TypeVar("S")
    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")
else:
    # Programs that define an app import this, and need neither typing nor an event loop.
    from skerry._twin import Generic, overload

    S = P = R = T = None


class _Use:
    """Whether the task in another event loop for which a method works still wants its result, and what undoes the result if not.

    The task may be cancelled at any moment, also when the result is there and on its way: whoever comes second undoes it.
    """

    def __init__(self) -> None:
        self.wanted = True
        self.undo: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def left(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return what is to be undone, for whoever asks first alone."""
        left: list[Callable[[], Coroutine[Any, Any, None]]] = []
        while self.undo:
            try:
                left.append(self.undo.pop())
            except IndexError:  # the other was quicker
                break
        return left


_use: ContextVar[_Use | None] = ContextVar("use", default=None)


class direct(Generic[S, P, R]):  # noqa: N801 - used as a decorator
    """Descriptor that makes a coroutine method one that blocks, with ``.aio``."""

    def __init__(self, coroutine: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self.__doc__ = coroutine.__doc__
        self.__name__ = coroutine.__name__
        self.__wrapped__ = coroutine

        def blocking(owner: S, *args: P.args, **kwargs: P.kwargs) -> R:
            return drive(coroutine(owner, *args, **kwargs))

        async def native(owner: S, *args: P.args, **kwargs: P.kwargs) -> R:
            from . import background

            use = _Use()
            token = _use.set(use)
            try:
                return await background.run_aio(coroutine(owner, *args, **kwargs))
            except BaseException:
                use.wanted = False
                for undo in use.left():
                    background.submit(undo())
                raise
            finally:
                _use.reset(token)

        blocking.__qualname__ = coroutine.__qualname__
        self._blocking: Callable[..., R] = blocking
        self._native: Callable[..., Coroutine[Any, Any, R]] = native

    @overload
    def __get__(self, obj: None, owner: type[S]) -> direct[S, P, R]: ...
    @overload
    def __get__(  # noqa: F811 - ruff does not see through the stand-in
        self, obj: S, owner: type[S] | None = None
    ) -> BoundTwin[P, R]: ...
    def __get__(  # noqa: F811 - see above
        self, obj: S | None, owner: type[S] | None = None
    ) -> direct[S, P, R] | BoundTwin[P, R]:
        """Bind to an object."""
        if obj is None:
            return self
        return BoundTwin(obj, self._blocking, self._native)


class static_direct(Generic[P, R]):  # noqa: N801 - used as a decorator
    """The same for a static method."""

    def __init__(self, coroutine: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self._coroutine = coroutine
        self.__doc__ = coroutine.__doc__
        self.__name__ = coroutine.__name__
        self.__wrapped__ = coroutine

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Block."""
        warn_if_in_event_loop(self._coroutine.__qualname__)
        return drive(self._coroutine(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same without blocking the event loop."""
        from . import background

        return await background.run_aio(self._coroutine(*args, **kwargs))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for an event loop to its end, in this thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a direct method waited for an event loop; it may await ask(), waiting() and its like only")


def in_background() -> bool:
    """Tell whether this runs in the loop in the background, and not in the caller's thread."""
    asyncio = sys.modules.get("asyncio")
    running = None if asyncio is None else asyncio._get_running_loop()
    if running is None:
        return False
    from . import background

    return running is background.loop()


async def ask(
    client: Client,
    rpc: Callable[[Any], Any],
    within: float | None = None,
    fault: Callable[[ConnectError], Error] | None = None,
) -> Any:
    """Do an RPC that can safely be done twice, again while the server is away.

    Args:
        client: whose.
        rpc: is given the services, and does it with one of them.
        within: as in ``Client.call``.
        fault: as in ``Client.call``.
    """
    if in_background():
        return await client.ask(lambda: rpc(client.aio), within, fault)
    return client.call(lambda: rpc(client), within, fault)


async def waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await what may wait long in the loop in the background, wherever this runs: Ctrl-C and cancelling a task end it."""
    if in_background():
        return await coroutine
    from . import background

    return background.run(coroutine)


async def unless_used(undo: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have a method's result undone where whoever waits for it was cancelled, by now or until it has it."""
    if (use := _use.get()) is None:
        return
    use.undo.append(undo)
    if not use.wanted:
        for each in use.left():
            await each()


_asides: set[Any] = set()


async def aside(coroutine: Coroutine[Any, Any, None]) -> None:
    """Have short requests done though the task that runs this was cancelled: in the caller's thread now, in the background on their own."""
    if not in_background():
        drive(coroutine)
        return
    import asyncio

    task = asyncio.get_running_loop().create_task(coroutine)
    _asides.add(task)
    task.add_done_callback(_asides.discard)


async def in_thread(blocking: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do what blocks where nobody else is held up by it."""
    if in_background():
        import asyncio

        return await asyncio.to_thread(blocking, *args, **kwargs)
    return blocking(*args, **kwargs)
