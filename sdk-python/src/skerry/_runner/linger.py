"""Sends what is held a moment after it came, whatever user code does meanwhile. Imported for generators."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Linger:
    """Calls a function in a thread of its own, a while after each touch."""

    def __init__(self, seconds: float, flush: Callable[[], None]) -> None:
        self._seconds = seconds
        self._flush = flush
        self._touched = threading.Event()
        self._never = threading.Event()
        threading.Thread(target=self._run, name="skerry items", daemon=True).start()

    def touch(self) -> None:
        """Have the function called."""
        if not self._touched.is_set():
            self._touched.set()

    def _run(self) -> None:
        while True:
            self._touched.wait()
            self._never.wait(self._seconds)  # others may come meanwhile, and go together
            self._touched.clear()
            try:
                self._flush()
            except OSError:
                return  # the host is gone; the main thread finds out as well
