"""Output of containers as it comes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from protobuf.wkt import Timestamp

from skerry import exception as exc
from skerry._client.waiting import Once
from skerry._gen.skerry.v1.log_pb import StreamLogsRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.log_pb import LogEntry

logger = logging.getLogger("skerry")

_RETRY_DELAY = 0.2


class LogFollower:
    """Gives each entry of an app's output to a function, from a thread of its own, until the app has ended."""

    def __init__(self, client: Client, app_id: str, show: Callable[[LogEntry], None]) -> None:
        self._client = client
        self._app_id = app_id
        self._show = show
        self._ended = Once()
        self._stopping = threading.Event()
        threading.Thread(target=self._follow, name="skerry-logs", daemon=True).start()

    def drain(self, timeout: float) -> bool:
        """Wait until all output of a stopped app has come. False if that took longer than ``timeout`` seconds."""
        ended = self._ended.wait(timeout)
        self._stopping.set()
        return ended

    def stop(self) -> None:
        """Show nothing more."""
        self._stopping.set()

    def _follow(self) -> None:
        try:
            for entry in follow(self._client, StreamLogsRequest(app=self._app_id, follow=True), self._stopping):
                if self._stopping.is_set():
                    return
                self._show(entry)
        except exc.ClientClosed:
            return
        except exc.Error as err:
            logger.warning("output of app %s: %s", self._app_id, err)
        finally:
            self._ended.set()


def follow(client: Client, request: StreamLogsRequest, stopping: threading.Event) -> Iterator[LogEntry]:
    """Yield entries, over broken connections: each once, as far as their times tell them apart."""
    while not stopping.is_set():
        try:
            for response in client.stream(lambda: client.logs.stream_logs(request)):
                yield from response.entries
                if response.entries and (last := response.entries[-1].time) is not None:
                    request.since = _just_after(last)
        except (exc.ServiceError, exc.ConnectionError, exc.InternalError) as err:
            if not request.follow:
                raise
            logger.debug("output interrupted: %s", err)
            stopping.wait(_RETRY_DELAY)
        else:
            return


def _just_after(time: Timestamp) -> Timestamp:
    nanos = time.nanos + 1
    return Timestamp(seconds=time.seconds + nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)
