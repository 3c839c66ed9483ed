"""Handles of calls that were spawned."""

from __future__ import annotations

import re

from skerry._twin import generator_twin, static_twin, twin
from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from typing import Any, Generic, TypeVar

    from skerry._client.client import Client
    from skerry._client.waiting import Once
    from skerry._client.watched import WatchedCall
    from skerry.types import InputInfo

    from .logs import FunctionCallLogsManager

    R = TypeVar("R")
else:
    from skerry._twin import Generic

    R = None

_CALL_ID = re.compile(r"fc-[0-9A-Za-z]{22}")


class FunctionCall(Generic[R]):
    """A call that runs on by itself. Its results are kept for 7 days after it has ended.

    Get it from :meth:`Function.spawn` or, anywhere and at any time, by :meth:`from_id`.
    """

    def __init__(self, call_id: str, client: Client | None = None) -> None:
        self.object_id = call_id
        self._client_or_none = client
        self._watched_or_none: WatchedCall | None = None

    @staticmethod
    def from_id(function_call_id: str, client: Client | None = None) -> FunctionCall[Any]:
        """Return the handle of a call by its id, "fc-...". Nothing is asked of the server until the handle is used.

        Raises InvalidError for what is no such id.
        """
        if not isinstance(function_call_id, str) or not _CALL_ID.fullmatch(function_call_id):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"function call id {function_call_id!r}: want fc- and 22 letters or digits")
        return FunctionCall(function_call_id, client)

    @twin
    def get(self, timeout: float | None = None, *, index: int = 0) -> R:
        """Wait for the result of an input and return it. Can be done again.

        Args:
            timeout: most seconds to wait; 0: only ask; None: for ever.
            index: which input, of a call that has several.

        Raises what the function raised, the builtin TimeoutError, OutputExpiredError if the result is no longer kept, NotFoundError.
        """
        from skerry._client.results import unwrap

        return unwrap(self._client, self._watched.result(index, timeout), f"call {self.object_id}")

    @get.native
    async def _get_aio(self, timeout: float | None = None, *, index: int = 0) -> R:
        from skerry._client.results import is_large, unwrap

        result = await self._watched.result_aio(index, timeout)
        if result is not None and is_large(result):
            import asyncio

            return await asyncio.to_thread(unwrap, self._client, result, f"call {self.object_id}")
        return unwrap(self._client, result, f"call {self.object_id}")

    @generator_twin
    def iter(self, *, start: int = 0, end: int | None = None) -> Iterator[R]:
        """Yield the results of inputs ``start`` to ``end`` (not included) in order, waiting for each.

        Raises ValueError for a range that is not there.
        """
        indexes = self._range(self.num_inputs(), start, end)
        with self._watched.watching():
            for index in indexes:
                yield self.get(index=index)

    @iter.native  # noqa: A003 - the name is part of the public surface
    async def _iter_aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R]:
        indexes = self._range(await self.num_inputs.aio(), start, end)
        with self._watched.watching():
            for index in indexes:
                yield await self._get_aio(index=index)

    def _range(self, count: int, start: int, end: int | None) -> range:
        end = count if end is None else end
        if not 0 <= start <= end <= count:
            raise ValueError(f"range {start} to {end}: the call has {count} inputs")
        return range(start, end)

    @twin
    def num_inputs(self) -> int:
        """Return how many inputs the call has. Raises NotFoundError."""
        from skerry._gen.skerry.v1.call_pb import GetCallRequest

        client = self._client
        response = client.call(lambda: client.calls.get_call(GetCallRequest(call_id=self.object_id)))
        return response.state.num_inputs if response.state is not None else 0

    @twin
    def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel the inputs that wait or run; their ``get`` then raises RemoteError. Finished ones keep their results.

        Args:
            terminate_containers: also stop the containers that run them.

        Raises NotFoundError.
        """
        from skerry._gen.skerry.v1.call_pb import CancelCallRequest

        client = self._client
        request = CancelCallRequest(call_id=self.object_id, terminate_containers=terminate_containers)
        client.call(lambda: client.calls.cancel_call(request))

    @twin
    def get_call_graph(self) -> list[InputInfo]:
        """Return the inputs of the call, each with the inputs of the calls that it made as its ``children``.

        Raises NotFoundError.
        """
        from .graph import call_graph

        return call_graph(self._client, self.object_id)

    @property
    def logs(self) -> FunctionCallLogsManager:
        """What the call's inputs wrote."""
        from .logs import FunctionCallLogsManager

        return FunctionCallLogsManager(self)

    @static_twin
    @staticmethod
    def gather(*function_calls: FunctionCall[Any]) -> Sequence[Any]:
        """Wait for the first input of each call and return the results in the order of the calls.

        Raises what the first call to fail raised, without waiting for the others, which go on.
        """
        race = _Race(function_calls)
        try:
            while (changed := race.pending()) is not None:
                changed.wait()
            return race.results()
        finally:
            race.end()

    @gather.native
    @staticmethod
    async def _gather_aio(*function_calls: FunctionCall[Any]) -> Sequence[Any]:
        race = _Race(function_calls)
        try:
            while (changed := race.pending()) is not None:
                await changed.wait_aio()
            if race.large():
                import asyncio

                return await asyncio.to_thread(race.results)
            return race.results()
        finally:
            race.end()

    @property
    def _client(self) -> Client:
        if self._client_or_none is None:
            from skerry._client.client import shared_client

            self._client_or_none = shared_client()
        return self._client_or_none

    @property
    def _watched(self) -> WatchedCall:
        if self._watched_or_none is None:
            self._watched_or_none = self._client.watched_call(self.object_id)
        return self._watched_or_none

    def __repr__(self) -> str:
        return f"skerry.FunctionCall.from_id({self.object_id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCall, (self.object_id,)


async def _from_id_aio(function_call_id: str, client: Client | None = None) -> FunctionCall[Any]:
    """Do what from_id does, for programs from when it asked the server."""
    import warnings

    from skerry.exception import DeprecationError

    warnings.warn(
        "FunctionCall.from_id.aio is deprecated; use FunctionCall.from_id, which asks nothing of the server",
        DeprecationError,
        stacklevel=2,
    )
    return FunctionCall.from_id(function_call_id, client)


vars(FunctionCall)["from_id"].__func__.aio = _from_id_aio


class _Race:
    """Several calls that are waited for together."""

    def __init__(self, calls: Sequence[FunctionCall[Any]]) -> None:
        from skerry._client.waiting import Once

        self._calls = calls
        self._arrived: list[int] = []
        self._checked = 0
        self._failed: int | None = None
        self._changed = Once()
        self._ends = [
            call._watched.on_result(0, lambda place=place: self._arrive(place)) for place, call in enumerate(calls)
        ]

    def _arrive(self, place: int) -> None:
        from skerry._client.waiting import Once

        self._arrived.append(place)
        changed, self._changed = self._changed, Once()
        changed.set()

    def pending(self) -> Once | None:
        """Return what to wait for, or None if all have ended or one has failed."""
        changed = self._changed
        while self._checked < len(self._arrived):
            place = self._arrived[self._checked]
            self._checked += 1
            if not self._calls[place]._watched.succeeded(0):
                self._failed = place
                return None
        return changed if self._checked < len(self._calls) else None

    def large(self) -> bool:
        """Tell whether the results have to be downloaded."""
        from skerry._client.results import is_large

        return any((result := call._watched.known(0)) is not None and is_large(result) for call in self._calls)

    def results(self) -> list[Any]:
        """Return the results, or raise what the call that failed raised."""
        if self._failed is not None:
            call = self._calls[self._failed]
            type(call).get.__wrapped__(call)
        return [type(call).get.__wrapped__(call) for call in self._calls]

    def end(self) -> None:
        """Stop watching."""
        for end in self._ends:
            end()
