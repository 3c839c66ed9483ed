"""The results of ``.map`` and ``.starmap``: iterables for loops and for asynchronous loops."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from skerry._client.mapping import MapCall, run, run_aio
from skerry._twin import in_event_loop
from skerry.exception import DeprecationError, InvalidError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

    from skerry._client.single import Arguments

    from .function import Function

R = TypeVar("R", covariant=True)


class MapMethod(Generic[R]):
    """``function.map`` or ``function.starmap``: call it for a loop, or its ``aio`` for an asynchronous loop."""

    __slots__ = ("_function", "_star")

    def __init__(self, function: Function[..., R], *, star: bool) -> None:
        self._function = function
        self._star = star

    @overload
    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R]: ...
    @overload
    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[True],
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R | BaseException]: ...
    @overload
    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R | BaseException]: ...
    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[Any]:
        """Return the results as an iterable. Nothing runs before it is iterated over."""
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions, wrap_returned_exceptions)

    @overload
    def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[False] = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R]: ...
    @overload
    def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: Literal[True],
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R | BaseException]: ...
    @overload
    def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[R | BaseException]: ...
    def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> MapResults[Any]:
        """Return the results as an asynchronous iterable: ``async for result in f.map.aio(inputs)``."""
        return self._results(input_iterators, kwargs, order_outputs, return_exceptions, wrap_returned_exceptions)

    def _results(
        self,
        sources: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        kwargs: dict[str, Any] | None,
        ordered: bool,
        return_exceptions: bool,
        wrap: bool | None,
    ) -> MapResults[R]:
        if self._star and len(sources) != 1:
            raise InvalidError(f"starmap takes one iterable of tuples, got {len(sources)}; map takes several")
        if not sources:
            raise InvalidError("map needs at least one iterable")
        if wrap is not None:
            warnings.warn("wrap_returned_exceptions does nothing; leave it out", DeprecationError, stacklevel=3)
        inputs = _Inputs(sources, dict(kwargs or {}), self._star)
        return MapResults(self._function, inputs, ordered=ordered, return_exceptions=return_exceptions)


class MapResults(Generic[R]):
    """Results of a map, in a loop or an asynchronous loop. Can be iterated over once."""

    def __init__(self, function: Function[..., R], inputs: _Inputs, *, ordered: bool, return_exceptions: bool) -> None:
        self._function = function
        self._inputs = inputs
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._wanted = False
        self._running: Iterator[R] | None = None
        self._running_aio: AsyncIterator[R] | None = None

    def __iter__(self) -> Iterator[R]:
        self._wanted = True
        if self._running is None:
            if in_event_loop():
                raise InvalidError(
                    f"the results of {self._function.name}.map() can't be iterated over in a running event loop; "
                    f"use `async for result in {self._function.name}.map.aio(...)`"
                )
            client, function_id = self._function._ready()
            call = self._call(client, function_id)
            self._running = cast("Iterator[R]", run(call, self._inputs.draw()))
        return self._running

    def __next__(self) -> R:
        return next(iter(self))

    def __aiter__(self) -> AsyncIterator[R]:
        self._wanted = True
        if self._running_aio is None:
            self._running_aio = self._run_aio()
        return self._running_aio

    async def __anext__(self) -> R:
        return await self.__aiter__().__anext__()

    async def _run_aio(self) -> AsyncIterator[R]:
        client, function_id = await self._function._ready_aio()
        results = cast("AsyncIterator[R]", run_aio(self._call(client, function_id), self._inputs.draw_aio()))
        async for result in results:
            yield result

    def _call(self, client: Any, function_id: str) -> MapCall:
        from skerry._run.display import track_map

        call = MapCall(
            client,
            function_id,
            self._function.name,
            ordered=self._ordered,
            return_exceptions=self._return_exceptions,
            method=self._function._method,
        )
        track_map(self._function.name, call)
        return call

    def __del__(self) -> None:
        if not self._wanted:
            warnings.warn(
                f"the results of {self._function.name}.map() were never iterated over, so nothing ran; "
                "use for_each() where results do not matter",
                RuntimeWarning,
                stacklevel=2,
            )


class _Inputs:
    """Arguments for each input, drawn lazily."""

    def __init__(self, sources: tuple[Any, ...], kwargs: dict[str, Any], star: bool) -> None:
        self._sources = sources
        self._kwargs = kwargs
        self._star = star

    def draw(self) -> Iterator[Arguments]:
        for source in self._sources:
            if not hasattr(source, "__iter__") and hasattr(source, "__aiter__"):
                raise InvalidError(
                    "an asynchronous iterable can't be drawn by a loop; use `async for ... in f.map.aio(...)`"
                )
        kwargs = self._kwargs
        if self._star:
            for element in self._sources[0]:
                yield tuple(element), kwargs
        else:
            for arguments in zip(*self._sources):  # noqa: B905 - the shortest ends the map
                yield arguments, kwargs

    async def draw_aio(self) -> AsyncIterator[Arguments]:
        if not any(hasattr(source, "__aiter__") for source in self._sources):
            for arguments in self.draw():
                yield arguments
            return
        iterators = [aiter_of(source) for source in self._sources]
        while True:
            elements: list[Any] = []
            for iterator in iterators:
                try:
                    elements.append(await iterator.__anext__())
                except StopAsyncIteration:
                    return
            yield tuple(elements[0]) if self._star else tuple(elements), self._kwargs


async def aiter_of(source: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Iterate asynchronously over a source of either kind."""
    if hasattr(source, "__aiter__"):
        async for element in cast("AsyncIterable[Any]", source):
            yield element
    else:
        for element in cast("Iterable[Any]", source):
            yield element
