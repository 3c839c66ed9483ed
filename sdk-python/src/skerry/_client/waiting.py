"""Something that happens once, waited for by threads or event loops."""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Once:
    """A one-time event, set from the reader thread.

    Leaner than threading.Event and concurrent.futures.Future: one lock for the thread that waits, one callback for an event loop.
    """

    __slots__ = ("_callbacks", "_done", "_gate", "_lock")

    def __init__(self) -> None:
        self._done = False
        self._lock = allocate_lock()
        self._gate = allocate_lock()
        self._gate.acquire()
        self._callbacks: list[Callable[[], object]] = []

    @property
    def done(self) -> bool:
        """Whether it has happened."""
        return self._done

    def set(self) -> None:
        """Make it happen. Only the first time counts."""
        with self._lock:
            if self._done:
                return
            self._done = True
            callbacks = self._callbacks
        self._gate.release()
        for callback in callbacks:
            callback()

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call back from the thread that sets it, or at once if it has happened. The callback must not block."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has happened. False if that took longer than ``timeout`` seconds."""
        if self._done:
            return True
        if not self._gate.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return self._done
        self._gate.release()
        return True

    async def wait_aio(self, timeout: float | None = None) -> bool:
        """Wait like :meth:`wait` without blocking the event loop."""
        if self._done:
            return True
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not future.done():
                future.set_result(None)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(finish)
            except RuntimeError:
                # The loop is closed: whoever waited on it is gone.
                return

        self.on_done(notify)
        done, _ = await asyncio.wait([future], timeout=timeout)
        return bool(done)
