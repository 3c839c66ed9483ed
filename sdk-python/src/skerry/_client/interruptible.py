"""Iterators whose waiting Ctrl-C can end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# How many messages are read ahead of who wants them.
_AHEAD = 64


def interruptible(source: Callable[[], Iterator[T]]) -> Iterator[T]:
    """Yield what an iterator gives, with its error.

    In the main thread it is drawn by another: the transport waits outside of Python, where signals have no effect until the next message
    comes. When the main thread leaves, that thread ends with the next message or with the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield from source()
        return
    # Not Queue or Semaphore: an interrupt at the wrong moment leaves their locks held.
    from queue import SimpleQueue

    messages: SimpleQueue[tuple[bool, T | BaseException | None]] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()
    left: list[bool] = []

    def draw() -> None:
        end: BaseException | None = None
        try:
            for message in source():
                room.get()
                if left:
                    return
                messages.put((True, message))
        except BaseException as err:  # raised where the messages are wanted
            end = err
        messages.put((False, end))

    for _ in range(_AHEAD):
        room.put(None)
    threading.Thread(target=draw, name="skerry-stream", daemon=True).start()
    try:
        while True:
            more, value = messages.get()
            if not more:
                break
            room.put(None)
            yield value  # pyright: ignore[reportReturnType] - a message
    finally:
        left.append(True)
        room.put(None)
    if isinstance(value, BaseException):
        raise value
