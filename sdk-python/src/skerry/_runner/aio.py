"""Asynchronous functions: one event loop for all inputs. Imported when the first one is called."""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any


class Loop:
    """Runs awaitables in the main thread, one at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def run(self, value: Awaitable[Any]) -> Any:
        """Wait for an awaitable and return its result. Raises what it raises, and CancelledError after ``cancel``."""

        async def wait() -> Any:
            return await value

        try:
            # A coroutine is given as it is: cancelling it before it began then still counts as having awaited it.
            self._task = self._loop.create_task(value if asyncio.iscoroutine(value) else wait())
            if self._cancelled:  # before there was a task
                self._task.cancel()
            return self._loop.run_until_complete(self._task)
        finally:
            self._task = None

    def arm(self) -> None:
        """Prepare for an input: what was cancelled before does not count."""
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the running awaitable; for signal handlers."""
        self._cancelled = True
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def close(self) -> None:
        """End what the user's tasks left running."""
        try:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
