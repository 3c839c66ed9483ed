"""What a stream brings, for a loop or an asynchronous loop, which may leave it at any time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from . import background
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from typing_extensions import Self

T = TypeVar("T")

# How many items wait for a slow loop.
_AHEAD = 64


class Ready:
    """What a generator yields once it sees what it is to bring; no item."""


class Feed(Generic[T]):
    """The items of an asynchronous generator that runs in the background: iterate over it with ``for`` or ``async for``.

    It is drawn from the moment it is made, a few items ahead, and closed with the loop's end, by :meth:`close`, or with the last
    reference to it.
    """

    def __init__(self, make: Callable[[], AsyncIterator[T | Ready]]) -> None:
        self._state: _State[T] = _State()
        # The task knows the state alone, so that a feed that nobody has any more ends.
        self._future: Future[None] = background.submit(_draw(self._state, make))

    def wait_ready(self) -> Self:
        """Wait until the generator has yielded :class:`Ready`, or has ended."""
        try:
            self._state.ready.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            taken = self._state.take()
            if not isinstance(taken, Once):
                if taken is None:
                    raise StopIteration
                return taken[0]
            try:
                taken.wait()
            except BaseException:
                self.close()
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            taken = self._state.take()
            if not isinstance(taken, Once):
                if taken is None:
                    raise StopAsyncIteration
                return taken[0]
            try:
                await taken.wait_aio()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Bring nothing more, and end the request."""
        self._future.cancel()
        self._state.end(None)

    async def aclose(self) -> None:
        """Do the same."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self._state.ready.wait_aio()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._future.cancel()


class _State(Generic[T]):
    """What has come and is to be taken."""

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.room: asyncio.Event | None = None
        self.ready = Once()
        self._arrival = Once()
        self._ended = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        self.ready.set()
        self.items.append(item)
        self._arrival.set()

    def end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._error = error
            self._ended = True
        self.ready.set()
        self._arrival.set()

    def take(self) -> tuple[T] | Once | None:
        """Return an item, or what to wait for, or None at the end. Raises what ended the stream, once."""
        arrival = self._arrival
        if arrival.done:
            # Replaced before anything is looked at: what arrives from here on sets the new one.
            arrival = self._arrival = Once()
        ended = self._ended
        if self.items:
            item = self.items.popleft()
            if self.room is not None and len(self.items) == _AHEAD // 2:
                background.loop().call_soon_threadsafe(self.room.set)
            return (item,)
        if not ended:
            return arrival
        error, self._error = self._error, None
        if error is not None:
            raise error
        return None


async def _draw(state: _State[T], make: Callable[[], AsyncIterator[T | Ready]]) -> None:
    state.room = room = asyncio.Event()
    error: BaseException | None = None
    items = make()
    try:
        async for item in items:
            if isinstance(item, Ready):
                state.ready.set()
                continue
            state.put(item)
            while len(state.items) >= _AHEAD:
                room.clear()
                if len(state.items) >= _AHEAD:
                    await room.wait()
    except asyncio.CancelledError:
        raise
    except BaseException as err:  # the loop raises it
        error = err
    finally:
        state.end(error)
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
