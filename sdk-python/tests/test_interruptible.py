"""Iterators whose waiting Ctrl-C can end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from skerry._client.interruptible import interruptible


def test_everything_comes_in_order_with_the_error_last():
    def source() -> Iterator[int]:
        yield from range(1000)
        raise LookupError("the end")

    seen: list[int] = []
    with pytest.raises(LookupError, match="the end"):
        seen.extend(interruptible(source))
    assert seen == list(range(1000))


def test_waiting_in_the_main_thread_can_be_interrupted():
    wanted, released, over = threading.Event(), threading.Event(), threading.Event()
    interrupted: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield 1
            released.wait()
            yield from range(1000)
        finally:
            over.set()

    def once(_signal: int, _frame: object) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    def interrupt() -> None:
        wanted.wait()
        # A signal that comes just before a thread begins to wait is not looked at until the next.
        while not interrupted:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, once)
    messages = interruptible(source)
    assert next(messages) == 1
    thread = threading.Thread(target=interrupt)
    thread.start()

    def wait_for_more() -> None:
        wanted.set()
        next(messages)

    with pytest.raises(KeyboardInterrupt):
        wait_for_more()
    thread.join()
    signal.signal(signal.SIGINT, before)
    messages.close()
    released.set()
    assert over.wait(60), "the source is not given up"


def test_other_threads_draw_by_themselves():
    drawn: list[int] = []

    def source() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(next(interruptible(source))))
    thread.start()
    thread.join()
    assert (seen, drawn) == ([0], [0])
