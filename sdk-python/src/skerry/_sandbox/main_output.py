"""Output of a sandbox's own command, which is kept with the logs, also after the sandbox has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._client.waiting import Once
from skerry._gen.skerry.v1.log_pb import LogSource, StreamLogsRequest
from skerry._objects.logs import PastLogs, entry_of
from skerry._run.log_reader import LogReader
from skerry._twin import generator_twin

from .reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from skerry._client.client import Client
    from skerry.types import LogEntry
    from skerry.types import LogSource as Source

_SOURCES = {1: LogSource.STDOUT, 2: LogSource.STDERR}


class _LogPlace:
    """A place in what the command wrote."""

    def __init__(self, client: Client, sandbox_id: str, descriptor: int) -> None:
        request = StreamLogsRequest(container_id=sandbox_id, source=_SOURCES[descriptor], follow=True)
        self._reader = LogReader(client, request)
        self._reader.start()

    def take(self) -> bytes | Once | None:
        taken = self._reader.take()
        return taken if taken is None or isinstance(taken, Once) else taken.text.encode()

    def close(self) -> None:
        self._reader.stop()


def main_output(client: Client, sandbox_id: str, descriptor: int) -> StreamReader[str]:
    """Return a stream of a sandbox's own command. It comes by lines and is read once."""
    return StreamReader(descriptor, lambda: _LogPlace(client, sandbox_id, descriptor), by_line=True, once=True)


class SandboxLogsManager(PastLogs):
    """What the own command of a sandbox, or of a sidecar, wrote, with its times: ``sandbox.logs``, ``sidecar.logs``."""

    def __init__(self, client: Client, sandbox_id: str, app_id: str = "") -> None:
        self._client = client
        self._sandbox_id = sandbox_id
        self._app_id = app_id

    def _scope(self) -> tuple[Client, StreamLogsRequest]:
        return self._client, StreamLogsRequest(container_id=self._sandbox_id, app=self._app_id)

    @generator_twin
    def fetch(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        source: Source | None = None,
        search_text: str = "",
    ) -> Iterator[LogEntry]:
        """Yield the entries of a time, in order of arrival; by default all there are.

        Args:
            since: the beginning; None: that of the sandbox. One without a time zone is in the local one.
            until: the end, which is not included; None: now. At most 35 days after the beginning, else LogsFetchError.
            source: only what was written there: "stdout", "stderr" or "system".
            search_text: only entries that contain it.
        """
        for entry in self._read_past(since, until, source, search_text).entries():
            yield entry_of(entry)

    @fetch.native
    async def _fetch_aio(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        source: Source | None = None,
        search_text: str = "",
    ) -> AsyncIterator[LogEntry]:
        async for entry in self._read_past(since, until, source, search_text).entries_aio():
            yield entry_of(entry)
