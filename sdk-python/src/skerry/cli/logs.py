"""What ``skerry app logs`` and ``skerry container logs`` have in common."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer
from protobuf.wkt import Timestamp

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.log_pb import LogSource, StreamLogsRequest
from skerry._run.log_reader import LogReader
from skerry._run.terminal import TerminalDisplay

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C or the end.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="From this time on: ISO 8601, or how long ago, such as 30s, 10m, 2h, 1d."
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")]
Tail = Annotated[
    int | None,
    typer.Option(
        "--tail", "-n", min=1, max=20000, help="Only the last N entries, at most 20000; default 100, of a range all."
    ),
]
Search = Annotated[str, typer.Option("--search", metavar="TEXT", help="Only lines that contain this.")]
Source = Annotated[str | None, typer.Option("--source", "-s", help="Only stdout, stderr or system.")]

_SOURCES = {"stdout": LogSource.STDOUT, "stderr": LogSource.STDERR, "system": LogSource.SYSTEM}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DEFAULT_TAIL = 100
_LONGEST_RANGE = timedelta(days=35)


def logs_request(
    *,
    following: bool,
    since: str | None,
    until: str | None,
    tail: int | None,
    search: str,
    source: str | None,
    everything: bool = False,
) -> StreamLogsRequest:
    """Return a request for output, from the options that all commands for output share."""
    if following and (since or until or tail):
        raise typer.BadParameter("--follow shows what comes; it can't be combined with --since, --until or --tail")
    if everything and (since or until or tail):
        raise typer.BadParameter("--all can't be combined with --since, --until or --tail")
    if source is not None and source not in _SOURCES:
        raise typer.BadParameter(f"--source {source!r}: want stdout, stderr or system")
    now = datetime.now(timezone.utc)
    begin = None if since is None else _time("--since", since, now)
    end = None if until is None else _time("--until", until, now)
    if begin is not None:
        if begin >= (end or now):
            raise typer.BadParameter("--since is not before --until")
        if (end or now) - begin > _LONGEST_RANGE:
            raise typer.BadParameter(f"--since {since!r}: the range is longer than {_LONGEST_RANGE.days} days")
    whole = everything or begin is not None
    return StreamLogsRequest(
        follow=following,
        search=search,
        tail=tail or (0 if whole else _DEFAULT_TAIL),
        source=LogSource.UNSPECIFIED if source is None else _SOURCES[source],
        since=None if begin is None else _stamp(begin),
        until=None if end is None else _stamp(end),
    )


def show_logs(request: StreamLogsRequest, display: TerminalDisplay) -> None:
    """Print output, each line to the stream it came from, to the end or until Ctrl-C."""
    try:
        for entry in LogReader(shared_client(), request).entries():
            display.log_entry(entry)
    finally:
        display.close()


def _time(option: str, text: str, now: datetime) -> datetime:
    if (ago := re.fullmatch(r"(\d{1,9})([smhd])", text)) is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError as err:
        raise typer.BadParameter(
            f"{option} {text!r}: want a time such as 2026-01-31T12:00:00, or how long ago: 30s, 10m, 2h, 1d"
        ) from err


def _stamp(moment: datetime) -> Timestamp:
    return Timestamp(seconds=int(moment.timestamp()), nanos=moment.microsecond * 1000)
