"""Output of containers as it comes."""

from __future__ import annotations

import logging
import threading
from collections import deque
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
# A request is made anew after so long: else one that nobody reads any more would last until the next entry.
_LONGEST_MS = 60_000
# How often in a row a request that does not follow is made again.
_RETRIES = 10
# How much of what a reader has had it asks for again after a break, in nanoseconds: more than clocks of workers differ.
_OVERLAP = 3_000_000_000


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
    """Yield the entries that are asked for, each once, over broken connections, until there are no more or the event is set.

    Everybody who reads output does it here. Raises NotFoundError and InvalidError; ServiceError or ConnectionError where a request that
    does not follow fails again and again.
    """
    place = _Place()
    failures = 0
    while not stopping.is_set():
        try:
            for response in client.stream(lambda: client.logs.stream_logs(request, timeout_ms=_LONGEST_MS)):
                for entry in response.entries:
                    if place.is_new(entry):
                        failures = 0
                        yield entry
        except (exc.ServiceError, exc.ConnectionError, exc.InternalError) as err:
            failures += 1
            if not request.follow and failures > _RETRIES:
                raise
            logger.debug("output interrupted: %s", err)
            place.resume(request)
            stopping.wait(_RETRY_DELAY)
        else:
            return


class _Place:
    """How far a reader has come.

    Entries come in the order of their arrival, which is nearly that of their times: each container's are in order, but containers have
    clocks of their own. So a reader that goes on after a break asks for some that it has had, and knows these again.
    """

    def __init__(self) -> None:
        self._latest = 0
        self._recent: deque[tuple[int, int]] = deque()
        self._known: set[int] = set()

    def is_new(self, entry: LogEntry) -> bool:
        """Note an entry. False if it has come before."""
        time = _nanoseconds(entry.time)
        identity = hash((time, entry.container_id, entry.source, entry.call_id, entry.index, entry.text))
        if identity in self._known:
            return False
        self._known.add(identity)
        self._recent.append((time, identity))
        self._latest = max(self._latest, time)
        while self._recent[0][0] < self._latest - 2 * _OVERLAP:
            self._known.discard(self._recent.popleft()[1])
        return True

    def resume(self, request: StreamLogsRequest) -> None:
        """Have a request go on from here."""
        if self._latest:
            request.tail = 0
            since = max(self._latest - _OVERLAP, _nanoseconds(request.since))
            request.since = Timestamp(seconds=since // 1_000_000_000, nanos=since % 1_000_000_000)


def _nanoseconds(time: Timestamp | None) -> int:
    return 0 if time is None else time.seconds * 1_000_000_000 + time.nanos
