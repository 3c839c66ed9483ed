"""Output of containers for a loop or an asynchronous loop, which may leave it at any time."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from skerry._client.waiting import Once

from .logs import follow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.log_pb import LogEntry, StreamLogsRequest

# How many entries wait for a slow loop.
_MAX_WAITING = 1000


class LogReader:
    """Reads what a request selects, from a thread of its own that begins with the loop and ends soon after it.

    A thread, because nothing else can wait for an entry and for something else at a time.
    """

    def __init__(self, client: Client, request: StreamLogsRequest) -> None:
        self._client = client
        self._request = request
        self._stopping = threading.Event()
        self._room = threading.Condition()
        self._waiting: deque[LogEntry] = deque()
        self._arrival = Once()
        self._ended = False
        self._error: BaseException | None = None

    def entries(self, timeout: float | None = None) -> Generator[LogEntry, None, None]:
        """Yield entries until there are no more, or none has come for ``timeout`` seconds."""
        self.start()
        try:
            while (taken := self.take()) is not None:
                if not isinstance(taken, Once):
                    yield taken
                elif not taken.wait(timeout):
                    return
        finally:
            self.stop()

    async def entries_aio(self, timeout: float | None = None) -> AsyncGenerator[LogEntry, None]:
        """Do the same without blocking the event loop."""
        self.start()
        try:
            while (taken := self.take()) is not None:
                if not isinstance(taken, Once):
                    yield taken
                elif not await taken.wait_aio(timeout):
                    return
        finally:
            self.stop()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="skerry-logs", daemon=True).start()

    def stop(self) -> None:
        """Read no more."""
        if sys.is_finalizing():
            return  # no other thread goes on any more: one that has a lock would keep it
        self._stopping.set()
        with self._room:
            self._room.notify_all()

    def _read(self) -> None:
        try:
            for entry in follow(self._client, self._request, self._stopping):
                with self._room:
                    self._room.wait_for(lambda: len(self._waiting) < _MAX_WAITING or self._stopping.is_set())
                    self._waiting.append(entry)
                if self._stopping.is_set():
                    return
                self._arrival.set()
        except BaseException as err:  # the loop raises it
            self._error = err
        finally:
            self._ended = True
            self._arrival.set()

    def take(self) -> LogEntry | Once | None:
        """Return an entry, or what to wait for, or None at the end. Raises what went wrong."""
        arrival = self._arrival
        if arrival.done:
            # Replaced before anything is looked at: what arrives from here on sets the new one.
            arrival = self._arrival = Once()
        ended = self._ended
        if self._waiting:
            entry = self._waiting.popleft()
            if len(self._waiting) < _MAX_WAITING // 2:
                with self._room:
                    self._room.notify_all()
            return entry
        if not ended:
            return arrival
        if self._error is not None:
            raise self._error
        return None
