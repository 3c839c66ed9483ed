"""``.logs`` of apps, functions and calls: what their containers wrote."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, cast

from protobuf.wkt import Timestamp

from skerry._gen.skerry.v1.log_pb import LogSource as Source
from skerry._gen.skerry.v1.log_pb import StreamLogsRequest
from skerry._run.log_reader import LogReader
from skerry._twin import generator_twin
from skerry.exception import InvalidError, LogsFetchError
from skerry.types import LogEntry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from skerry._client.client import Client
    from skerry._gen.skerry.v1 import log_pb
    from skerry.types import LogSource

    from .call import FunctionCall
    from .function import Function
    from .living import Living

MAX_RANGE = timedelta(days=35)
MAX_TAIL = 20_000

_SOURCES = {"stdout": Source.STDOUT, "stderr": Source.STDERR, "system": Source.SYSTEM}
_NAMES = {source: name for name, source in _SOURCES.items()}
# How much before a call began by the server's clock its output may be dated: workers have clocks of their own.
_SKEW = timedelta(minutes=1)


class PastLogs:
    """What all managers share: they differ in whose output they read."""

    def _scope(self) -> tuple[Client, StreamLogsRequest]:
        """Return a request that selects the object's output."""
        raise NotImplementedError

    def _read_past(
        self, since: datetime | None, until: datetime | None, source: LogSource | None, search_text: str
    ) -> LogReader:
        begin = None if since is None else _aware(since)
        end = None if until is None else _aware(until)
        if begin is not None and (end or datetime.now(timezone.utc)) - begin > MAX_RANGE:
            raise LogsFetchError(
                f"logs since {begin.isoformat()}: the longest range is {MAX_RANGE.days} days; move since or until"
            )
        if begin is not None and end is not None and end < begin:
            raise LogsFetchError(f"logs from {begin.isoformat()} to {end.isoformat()}: the end is before the beginning")
        wanted = _source(source)
        client, request = self._scope()
        if begin is not None:
            request.since = _timestamp(begin)
        if end is not None:
            request.until = _timestamp(end)
        request.source = wanted
        request.search = search_text
        return LogReader(client, request)

    def _read_tail(self, entries: int, source: LogSource | None) -> LogReader:
        if type(entries) is not int or not 1 <= entries <= MAX_TAIL:
            raise LogsFetchError(f"tail({entries!r}): want 1 to {MAX_TAIL:,} entries; use fetch() for more")
        wanted = _source(source)
        client, request = self._scope()
        request.tail = entries
        request.source = wanted
        return LogReader(client, request)

    @generator_twin
    def tail(self, entries: int = 100, *, source: LogSource | None = None) -> Iterator[LogEntry]:
        """Yield the last entries, oldest first.

        Args:
            entries: how many, at most 20,000; LogsFetchError for more.
            source: only what was written there: "stdout", "stderr" or "system".
        """
        for entry in self._read_tail(entries, source).entries():
            yield entry_of(entry)

    @tail.native
    async def _tail_aio(self, entries: int = 100, *, source: LogSource | None = None) -> AsyncIterator[LogEntry]:
        async for entry in self._read_tail(entries, source).entries_aio():
            yield entry_of(entry)


class Logs(PastLogs):
    """Logs that can be followed."""

    def _read_on(self) -> LogReader:
        client, request = self._scope()
        request.follow = True
        return LogReader(client, request)

    @generator_twin
    def stream(self, timeout: float | None = None) -> Iterator[LogEntry]:
        """Yield the entries that are kept, then those that come, over broken connections.

        It ends when the app has stopped; that of a call a moment after the call has ended.

        Args:
            timeout: also end when no entry has come for so many seconds.
        """
        for entry in self._read_on().entries(timeout):
            yield entry_of(entry)

    @stream.native
    async def _stream_aio(self, timeout: float | None = None) -> AsyncIterator[LogEntry]:
        async for entry in self._read_on().entries_aio(timeout):
            yield entry_of(entry)


class _LogsManager(Logs):
    """Logs of an object that lives long: a range needs a beginning."""

    @generator_twin
    def fetch(
        self,
        *,
        since: datetime,
        until: datetime | None = None,
        source: LogSource | None = None,
        search_text: str = "",
    ) -> Iterator[LogEntry]:
        """Yield the entries of a time, in order of arrival.

        Args:
            since: the beginning. One without a time zone is in the local one.
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
        since: datetime,
        until: datetime | None = None,
        source: LogSource | None = None,
        search_text: str = "",
    ) -> AsyncIterator[LogEntry]:
        async for entry in self._read_past(since, until, source, search_text).entries_aio():
            yield entry_of(entry)


class AppLogsManager(_LogsManager):
    """Output of an app's containers. Raises InvalidError before the app runs."""

    def __init__(self, app: Living) -> None:
        self._app = app

    def _scope(self) -> tuple[Client, StreamLogsRequest]:
        from skerry._client.client import shared_client

        app_id = self._app.app_id
        if app_id is None:
            raise InvalidError(f"app {self._app.name!r} has no logs before it runs or is deployed")
        return shared_client(), StreamLogsRequest(app=app_id)


class FunctionLogsManager(_LogsManager):
    """Output of a function's containers. Raises ExecutionError before its app runs."""

    def __init__(self, function: Function[..., Any]) -> None:
        self._function = function

    def _scope(self) -> tuple[Client, StreamLogsRequest]:
        client, function_id = self._function._ready()
        return client, StreamLogsRequest(app=self._function._app_of(), function_id=function_id)


class FunctionCallLogsManager(Logs):
    """Output of a call's inputs."""

    def __init__(self, call: FunctionCall[Any]) -> None:
        self._call = call

    @generator_twin
    def fetch(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        source: LogSource | None = None,
        search_text: str = "",
    ) -> Iterator[LogEntry]:
        """Yield the entries of a time, in order of arrival; by default all there are.

        Args:
            since: the beginning; None: that of the call. One without a time zone is in the local one.
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
        source: LogSource | None = None,
        search_text: str = "",
    ) -> AsyncIterator[LogEntry]:
        async for entry in self._read_past(since, until, source, search_text).entries_aio():
            yield entry_of(entry)

    def _scope(self) -> tuple[Client, StreamLogsRequest]:
        from skerry._gen.skerry.v1.call_pb import GetCallRequest

        client, call_id = self._call._client, self._call.object_id
        call = client.call(lambda: client.calls.get_call(GetCallRequest(call_id=call_id)))
        request = StreamLogsRequest(app=call.app_id, call_id=call_id)
        if call.created_at is not None:
            request.since = _timestamp(_datetime(call.created_at) - _SKEW)
        return client, request


def _source(name: LogSource | None) -> Source:
    if name is None:
        return Source.UNSPECIFIED
    if name not in _SOURCES:
        raise InvalidError(f"source {name!r}: want stdout, stderr or system")
    return _SOURCES[name]


def _aware(time: datetime) -> datetime:
    if not isinstance(time, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"{time!r}: want a datetime, such as datetime.now() - timedelta(hours=1)")
    # One without a zone is taken as local.
    return time.astimezone(timezone.utc)


def _timestamp(time: datetime) -> Timestamp:
    micros = (time - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _datetime(time: Timestamp) -> datetime:
    return datetime.fromtimestamp(time.seconds, timezone.utc) + timedelta(microseconds=time.nanos // 1000)


def entry_of(entry: log_pb.LogEntry) -> LogEntry:
    """Return an entry as users see it."""
    ids = [entry.container_id] if entry.container_id else []
    if entry.call_id:
        ids += [entry.call_id, f"in-{entry.call_id.removeprefix('fc-')}-{entry.index}"]
    return LogEntry(
        message=entry.text,
        timestamp=_datetime(entry.time or Timestamp()),
        source=cast("LogSource", _NAMES.get(entry.source, "system")),
        object_id=entry.function_id,
        context_ids=tuple(ids),
    )
