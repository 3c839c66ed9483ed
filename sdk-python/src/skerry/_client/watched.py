"""Calls whose outputs are asked for by id: those that were spawned, by this process or another."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.call_pb import CallKind, Watch
from skerry._gen.skerry.v1.payload_pb import ResultStatus
from skerry.exception import NotFoundError, OutputExpiredError

from .outstanding import Call
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from skerry._gen.skerry.v1.call_pb import CallState, Output
    from skerry._gen.skerry.v1.payload_pb import Result
    from skerry.exception import Error

    from .client import Client


class WatchedCall(Call):
    """The outputs of one call as they come, kept for all who hold the call's handle.

    It is watched while somebody waits for an output that has not come.
    """

    def __init__(self, client: Client, call_id: str) -> None:
        super().__init__("", CallKind.SPAWN, call_id)
        self._client = client
        self._lock = threading.Lock()
        self._results: dict[int, Result | None] = {}
        self._state: CallState | None = None
        self._error: Error | None = None
        self._changed = Once()
        self._waiters = 0

    def deliver(self, outputs: list[Output]) -> None:
        """Keep outputs."""
        with self._lock:
            for output in outputs:
                self._results[output.index] = output.result
        self._notify()

    def learn(self, state: CallState) -> None:
        """Keep where the call stands."""
        self._state = state
        self._notify()

    def fail(self, error: Error) -> None:
        """Keep what went wrong."""
        self._error = error
        self._notify()

    def watch(self) -> Watch:
        """Return what gets the outputs still missing."""
        with self._lock:
            first = 0
            while first in self._results:
                first += 1
            seen = sorted(index for index in self._results if index > first)
            return Watch(call_id=self.call_id, from_index=first, seen_indexes=seen)

    def result(self, index: int, timeout: float | None = None) -> Result | None:
        """Wait for an output, at most ``timeout`` seconds; 0 asks the server once.

        Raises the builtin TimeoutError, OutputExpiredError, NotFoundError, or what went wrong with the connection.
        """
        if index in self._results:
            return self._results[index]
        deadline = None if timeout is None else time.monotonic() + timeout
        with _Watching(self):
            while True:
                changed = self._changed
                if (found := self._look(index, deadline)) is not None:
                    return found[0]
                changed.wait(self._patience(deadline))

    async def result_aio(self, index: int, timeout: float | None = None) -> Result | None:
        """Wait like :meth:`result` without blocking the event loop."""
        if index in self._results:
            return self._results[index]
        deadline = None if timeout is None else time.monotonic() + timeout
        with _Watching(self):
            while True:
                changed = self._changed
                if (found := self._look(index, deadline)) is not None:
                    return found[0]
                await changed.wait_aio(self._patience(deadline))

    def on_result(self, index: int, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back once when :meth:`result` would not wait any more. Returns what ends the watching."""
        watching = _Watching(self)
        watching.__enter__()
        called = False

        def check() -> None:
            nonlocal called
            changed = self._changed
            if called:
                return
            if index in self._results or self._error is not None or (self._state is not None and self._state.expired):
                called = True
                callback()
            else:
                changed.on_done(check)

        check()
        return watching.end

    def watching(self) -> AbstractContextManager[None]:
        """Keep the call watched while somebody reads many of its results: else each would ask the server anew."""
        return _Watching(self)

    def known(self, index: int) -> Result | None:
        """Return an output if it has come."""
        return self._results.get(index)

    def succeeded(self, index: int) -> bool:
        """Tell whether an output has come and is a success."""
        result = self._results.get(index)
        return result is not None and result.status == ResultStatus.SUCCESS

    def _look(self, index: int, deadline: float | None) -> tuple[Result | None] | None:
        if index in self._results:
            return (self._results[index],)
        if self._error is not None:
            raise self._error
        state = self._state
        if state is not None:
            if state.expired:
                raise OutputExpiredError(f"call {self.call_id}: its results are no longer kept")
            if state.num_inputs and index >= state.num_inputs:
                raise NotFoundError(f"call {self.call_id}: has {state.num_inputs} inputs, none with index {index}")
            # A call that the server says has ended has outputs on their way, however short the caller's time.
            on_its_way = state.num_finished >= state.num_inputs > 0
            if deadline is not None and time.monotonic() >= deadline and not on_its_way:
                raise TimeoutError(f"call {self.call_id}: no result yet")
        return None

    def _patience(self, deadline: float | None) -> float | None:
        # Before the server's first answer there is nothing to base a timeout on.
        if deadline is None or self._state is None:
            return None
        remaining = deadline - time.monotonic()
        return remaining if remaining > 0 else None

    def _notify(self) -> None:
        changed, self._changed = self._changed, Once()
        changed.set()

    def _begin(self) -> None:
        with self._lock:
            self._waiters += 1
            if self._waiters > 1:
                return
            self._state = None
            self._error = None
        self._client.session.watch(self)

    def _end(self) -> None:
        with self._lock:
            self._waiters -= 1
            if self._waiters:
                return
        self._client.session.release(self)


class _Watching:
    """Keeps a call watched while it is entered."""

    __slots__ = ("_call",)

    def __init__(self, call: WatchedCall) -> None:
        self._call: WatchedCall | None = call

    def __enter__(self) -> None:
        assert self._call is not None  # noqa: S101 - entered once
        self._call._begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop watching; more than once does nothing."""
        call, self._call = self._call, None
        if call is not None:
            call._end()
