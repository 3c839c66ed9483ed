"""Large inputs of a map on their way to the blob store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_PARALLEL = 8


class Uploads:
    """Large inputs on their way to the blob store, a few at a time: the feeder waits while there are more."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool: ThreadPoolExecutor = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="skerry-upload")
        self._slots = threading.Semaphore(_PARALLEL)

    def start(self, upload: Any) -> None:
        self._slots.acquire()
        try:
            future: Future[None] = self._pool.submit(upload)
        except RuntimeError:  # the consumer has left and closed it meanwhile
            self._slots.release()
            return
        future.add_done_callback(lambda _: self._slots.release())

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
