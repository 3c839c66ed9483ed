"""What ``.remote_gen`` gives: items for loops and for asynchronous loops."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

from skerry._client.generating import generate, generate_aio
from skerry._twin import warn_if_in_event_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from skerry._client.single import Arguments

    from .function import Function

P = ParamSpec("P")


class GeneratorMethod(Generic[P]):
    """``function.remote_gen``: call it for a loop, or its ``aio`` for an asynchronous loop."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[P, Any]) -> None:
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> GeneratorItems:
        """Return the items as an iterable. Nothing runs before it is iterated over."""
        return GeneratorItems(self._function, (args, kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> GeneratorItems:
        """Return the items as an asynchronous iterable: ``async for item in f.remote_gen.aio(...)``."""
        return GeneratorItems(self._function, (args, kwargs))


class GeneratorItems:
    """What a generator yields, in a loop or an asynchronous loop. Can be iterated over once; leaving the loop early cancels the call."""

    def __init__(self, function: Function[..., Any], arguments: Arguments) -> None:
        self._wanted = False
        self._function = function
        self._arguments = arguments
        self._running: Generator[Any, None, None] | None = None
        self._running_aio: AsyncGenerator[Any, None] | None = None

    def __iter__(self) -> Iterator[Any]:
        self._wanted = True
        if self._running is None:
            warn_if_in_event_loop(f"{self._function.name}.remote_gen")
            function = self._function
            client, function_id = function._ready_for(generator=True)
            self._running = generate(client, function_id, function.name, self._arguments, function._method)
        return self._running

    def __next__(self) -> Any:
        return next(iter(self))

    def close(self) -> None:
        """Leave the items: the call is cancelled if it has not ended."""
        self._wanted = True
        if self._running is not None:
            self._running.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        self._wanted = True
        if self._running_aio is None:
            function = self._function
            # It must not hold this object, which holds it: a loop that is left early is to end it at once.
            self._running_aio = generate_aio(
                lambda: function._ready_for_aio(generator=True), function.name, self._arguments, function._method
            )
        return self._running_aio

    async def __anext__(self) -> Any:
        return await self.__aiter__().__anext__()

    async def aclose(self) -> None:
        """Leave the items: the call is cancelled if it has not ended."""
        self._wanted = True
        if self._running_aio is not None:
            await self._running_aio.aclose()

    def __del__(self) -> None:
        if not self._wanted:
            warnings.warn(
                f"the items of {self._function.name}.remote_gen() were never iterated over, so nothing ran",
                RuntimeWarning,
                stacklevel=2,
            )
