"""The results of ``.map`` and ``.starmap``: iterables for loops and for asynchronous loops."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from skerry._client.mapping import MapCall, run, run_aio
from skerry._twin import in_event_loop
from skerry.exception import DeprecationError, InvalidError

from .inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

    from skerry._client.client import Client

    from .function import Function

R = TypeVar("R", covariant=True)


class MapMethod(Generic[R]):
    """``function.map`` or ``function.starmap``: call it for a loop, or its ``aio`` for an asynchronous loop."""

    __slots__ = ("_function", "_star")

    def __init__(self, function: Function[..., R, Any], *, star: bool) -> None:
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
        inputs = Inputs(sources, kwargs, star=self._star)
        return MapResults(_Opening(self._function, ordered, return_exceptions), inputs)


class _Opening(NamedTuple):
    """What begins a map."""

    function: Function[..., Any, Any]
    ordered: bool
    return_exceptions: bool

    def open(self) -> MapCall:
        """Begin it."""
        return self._call(*self.function._ready_for(generator=False))

    async def open_aio(self) -> MapCall:
        """Begin it without blocking the event loop."""
        return self._call(*await self.function._ready_for_aio(generator=False))

    def _call(self, client: Client, function_id: str) -> MapCall:
        from skerry._run.display import track_map

        name = self.function.name
        call = MapCall(
            client,
            function_id,
            name,
            ordered=self.ordered,
            return_exceptions=self.return_exceptions,
            method=self.function._method,
        )
        track_map(name, call)
        return call


class MapResults(Generic[R]):
    """Results of a map, in a loop or an asynchronous loop. Can be iterated over once; leaving the loop early cancels what is left."""

    def __init__(self, opening: _Opening, inputs: Inputs) -> None:
        self._wanted = False
        self._opening = opening
        self._inputs = inputs
        self._running: Generator[R, None, None] | None = None
        self._running_aio: AsyncGenerator[R, None] | None = None

    def __iter__(self) -> Iterator[R]:
        self._wanted = True
        if self._running is None:
            if in_event_loop():
                raise InvalidError(
                    f"the results of {self._name}.map() can't be iterated over in a running event loop; "
                    f"use `async for result in {self._name}.map.aio(...)`"
                )
            self._inputs.check_synchronous()
            self._running = cast("Generator[R, None, None]", run(self._opening.open(), self._inputs.draw()))
        return self._running

    def __next__(self) -> R:
        return next(iter(self))

    def close(self) -> None:
        """Leave the results: what is left of the map is cancelled."""
        self._wanted = True
        if self._running is not None:
            self._running.close()

    def __aiter__(self) -> AsyncIterator[R]:
        self._wanted = True
        if self._running_aio is None:
            # It must not hold this object, which holds it: a loop that is left early is to end it at once.
            self._running_aio = run_aio(self._opening.open_aio, self._inputs.draw_aio())
        return self._running_aio

    async def __anext__(self) -> R:
        return await self.__aiter__().__anext__()

    async def aclose(self) -> None:
        """Leave the results: what is left of the map is cancelled."""
        self._wanted = True
        if self._running_aio is not None:
            await self._running_aio.aclose()

    @property
    def _name(self) -> str:
        return self._opening.function.name

    def __del__(self) -> None:
        if not self._wanted:
            warnings.warn(
                f"the results of {self._name}.map() were never iterated over, so nothing ran; "
                "use for_each() where results do not matter",
                RuntimeWarning,
                stacklevel=2,
            )
