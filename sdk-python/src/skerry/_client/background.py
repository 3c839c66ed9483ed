"""An event loop in a thread of its own, one for the process: for whatever waits long, or may be given up while it waits.

What blocks is a coroutine there that somebody waits for; so Ctrl-C ends the waiting, and the request with it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")

# How long the end of the process waits for requests to be given up, in seconds.
_CLOSE_SECONDS = 2.0
# How long it then waits for the transport's own threads: one that comes to call Python when there is none any more aborts the process.
_SETTLE_SECONDS = 0.05


class _Background:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, name="skerry-loop", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def close(self) -> None:
        """Give everything up: a transport that still reads when the interpreter ends crashes it."""
        asyncio.run_coroutine_threadsafe(self._give_up(), self.loop)
        self.thread.join(_CLOSE_SECONDS)

    async def _give_up(self) -> None:
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            # What the transport's threads were about to hand over: there is nothing of theirs to wait for.
            await asyncio.sleep(_SETTLE_SECONDS)
        self.loop.stop()


class _Process:
    """What the process has one of."""

    lock = threading.Lock()
    background: _Background | None = None


def loop() -> asyncio.AbstractEventLoop:
    """Return the loop, which runs."""
    if (known := _Process.background) is not None:
        return known.loop
    with _Process.lock:
        if _Process.background is None:
            _Process.background = _Background()
        return _Process.background.loop


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Have a coroutine run there."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine there and wait for it. One that is interrupted is cancelled."""
    future = submit(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def run_aio(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine there and wait for it in another event loop. One that is given up is cancelled."""
    if (background := _Process.background) is not None and asyncio.get_running_loop() is background.loop:
        return await coroutine
    return await asyncio.wrap_future(submit(coroutine))


async def check_cancelled() -> None:
    """Raise CancelledError where the running task was cancelled: the transport makes another error of it."""
    task: Any = asyncio.current_task()
    if task is not None and getattr(task, "cancelling", int)():
        raise asyncio.CancelledError


def forget() -> None:
    """Leave the loop behind, after a fork that did not copy its thread."""
    _Process.background = None
    _Process.lock = threading.Lock()


@atexit.register
def _close() -> None:
    if (background := _Process.background) is not None:
        background.close()
