"""An event loop in a thread of its own, one for the process: for whatever waits long, or may be given up while it waits.

What blocks is a coroutine there that somebody waits for; so Ctrl-C ends the waiting, and the request with it.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future
    from types import FrameType

T = TypeVar("T")

# How long the end of the process waits for requests to be given up, in seconds.
_CLOSE_SECONDS = 2.0
# How often it looks whether the transport's threads have left Python, which nothing announces.
_LOOK_SECONDS = 0.001


class _Background:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, name="skerry-loop", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def close(self) -> None:
        """Give everything up, and let nothing call the loop any more.

        The transport's threads hand over what has come by `call_soon_threadsafe`, even after whoever waits has it. Up to Python
        3.13 a thread that has let go of the interpreter in there, as it does to wake the loop, and gets it back when the
        interpreter ends is made to exit; the transport can't be left that way, and the process aborts.
        """
        asyncio.run_coroutine_threadsafe(self._give_up(), self.loop)
        self.thread.join(_CLOSE_SECONDS)
        # Any arguments, and not one step of Python.
        self.loop.call_soon_threadsafe = "".format  # type: ignore[assignment, method-assign]
        deadline = time.monotonic() + _CLOSE_SECONDS
        while _being_called() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    async def _give_up(self) -> None:
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        self.loop.stop()


def _being_called() -> bool:
    """Tell whether any thread is in an event loop's `call_soon_threadsafe`."""
    code = asyncio.BaseEventLoop.call_soon_threadsafe.__code__
    for frame in sys._current_frames().values():
        caller: FrameType | None = frame
        while caller is not None:
            if caller.f_code is code:
                return True
            caller = caller.f_back
    return False


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
