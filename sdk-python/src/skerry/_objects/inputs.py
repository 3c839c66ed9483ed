"""The inputs of maps, as a user's iterators give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from skerry.exception import InvalidError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable

    from skerry._client.single import Arguments


class Inputs:
    """Arguments for each input, drawn lazily.

    Args:
        sources: one iterable for each positional parameter, of which the shortest ends the inputs.
        kwargs: keyword arguments that are the same for all.
        star: there is one source, and its elements are tuples of arguments.
    """

    def __init__(
        self,
        sources: tuple[Iterable[Any] | AsyncIterable[Any], ...],
        kwargs: dict[str, Any] | None,
        *,
        star: bool = False,
    ) -> None:
        self._sources: tuple[Any, ...] = sources
        self._kwargs = dict(kwargs or {})
        self._star = star

    def check_synchronous(self) -> None:
        """Raise InvalidError for an asynchronous source."""
        for source in self._sources:
            if not hasattr(source, "__iter__") and hasattr(source, "__aiter__"):
                raise InvalidError(
                    "an asynchronous iterable can't be drawn by a blocking call; use its .aio form, such as "
                    "`async for ... in f.map.aio(...)`"
                )

    def draw(self) -> Generator[Arguments, None, None]:
        """Yield them, in the calling thread."""
        self.check_synchronous()
        kwargs = self._kwargs
        if self._star:
            for element in self._sources[0]:
                yield tuple(element), kwargs
        else:
            for arguments in zip(*self._sources):  # noqa: B905 - the shortest ends the map
                yield arguments, kwargs

    async def draw_aio(self) -> AsyncGenerator[Arguments, None]:
        """Yield them, in the running event loop."""
        if not any(hasattr(source, "__aiter__") for source in self._sources):
            for arguments in self.draw():
                yield arguments
            return
        iterators = [_iterate(source) for source in self._sources]
        while True:
            elements: list[Any] = []
            for iterator in iterators:
                try:
                    elements.append(await iterator.__anext__())
                except StopAsyncIteration:
                    return
            yield tuple(elements[0]) if self._star else tuple(elements), self._kwargs


async def _iterate(source: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Iterate asynchronously over a source of either kind."""
    if hasattr(source, "__aiter__"):
        async for element in cast("AsyncIterable[Any]", source):
            yield element
    else:
        for element in cast("Iterable[Any]", source):
            yield element
