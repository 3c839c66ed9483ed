"""``skerry app``."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer
from protobuf.wkt import Timestamp

from skerry._client.client import Client, shared_client
from skerry._gen.skerry.v1.app_pb import (
    AppInfo,
    AppState,
    CommitInfo,
    GetAppHistoryRequest,
    ListAppsRequest,
    StopAppRequest,
    StopReason,
)
from skerry._gen.skerry.v1.container_pb import ListContainersRequest
from skerry._gen.skerry.v1.log_pb import LogEntry, LogSource, StreamLogsRequest
from skerry._run.logs import follow
from skerry._run.terminal import TerminalDisplay
from skerry.config import config

from . import tables

cli = typer.Typer(help="List and stop apps, and read their output.", no_args_is_help=True)

AppArgument = Annotated[str, typer.Argument(metavar="APP", help="The app's id, or the name it is deployed under.")]
Environment = Annotated[str | None, typer.Option("--env", "-e", help="The environment; default: the configured one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C or the end.")]
Since = Annotated[
    str | None, typer.Option("--since", help="From this time on: ISO 8601, or how long ago, such as 10m, 2h, 1d.")
]
Until = Annotated[str | None, typer.Option("--until", help="Before this time.")]
Tail = Annotated[
    int | None, typer.Option("--tail", "-n", min=1, max=20000, help="Only the last N entries; default 100.")
]
Search = Annotated[str, typer.Option("--search", help="Only lines that contain this.")]
Source = Annotated[str | None, typer.Option("--source", "-s", help="Only stdout, stderr or system.")]
Timestamps = Annotated[bool, typer.Option("--timestamps", help="Show when each line was written.")]

_STATES = {
    AppState.INITIALIZING: "initializing...",
    AppState.EPHEMERAL: "ephemeral",
    AppState.DETACHED: "ephemeral (detached)",
    AppState.DEPLOYED: "deployed",
    AppState.STOPPING: "stopping...",
    AppState.STOPPED: "stopped",
}
_SOURCES = {"stdout": LogSource.STDOUT, "stderr": LogSource.STDERR, "system": LogSource.SYSTEM}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_TAIL = 20000
_DEFAULT_TAIL = 100


@cli.command("list")
def list_apps(environment: Environment = None, as_json: AsJson = False) -> None:
    """List apps that run, and those that stopped in the last day."""
    client = shared_client()
    apps = client.call(lambda: client.apps.list_apps(ListAppsRequest(environment=_environment(environment)))).apps
    columns = ["App ID", "Description", "State", "Tasks", "Created at", "Stopped at"]
    tables.show(columns, [_row(app) for app in apps], as_json=as_json)


@cli.command()
def stop(app: AppArgument, yes: Yes = False, environment: Environment = None) -> None:
    """Stop an app: its containers end, and its inputs that wait or run are cancelled."""
    client = shared_client()
    if not yes:
        _confirm_stop(client, app)
    request = StopAppRequest(app=app, environment=_environment(environment), reason=StopReason.REQUESTED)
    response = client.call(lambda: client.apps.stop_app(request))
    if response.already_stopped:
        print(f"App {app} had been stopped before.")
        raise typer.Exit(1)
    print(f"Stopped app {app} with {response.num_containers} containers.")


@cli.command()
def history(app: AppArgument, as_json: AsJson = False, environment: Environment = None) -> None:
    """List an app's deployments, newest first. A * after the commit means that there were uncommitted changes."""
    client = shared_client()
    request = GetAppHistoryRequest(app=app, environment=_environment(environment))
    deployments = client.call(lambda: client.apps.get_app_history(request)).deployments
    columns = ["Version", "Time deployed", "Client", "Deployed by", "Commit", "Tag"]
    rows = [
        [f"v{d.version}", tables.local_time(d.deployed_at), d.client_version, d.deployed_by, _commit(d.commit), d.tag]
        for d in deployments
    ]
    tables.show(columns, rows, as_json=as_json)


@cli.command()
def logs(
    app: AppArgument,
    following: Follow = False,
    since: Since = None,
    until: Until = None,
    tail: Tail = None,
    search: Search = "",
    function: Annotated[str, typer.Option("--function", help="Only this function, fu-....")] = "",
    container: Annotated[str, typer.Option("--container", help="Only this container, ta-....")] = "",
    source: Source = None,
    timestamps: Timestamps = False,
    environment: Environment = None,
) -> None:
    """Show what an app's functions have printed: the last 100 lines, or what the options ask for."""
    request = logs_request(following=following, since=since, until=until, tail=tail, search=search, source=source)
    request.app = app
    request.environment = _environment(environment)
    request.function_id = function
    request.container_id = container
    show_logs(request, timestamps=timestamps)


def logs_request(
    *, following: bool, since: str | None, until: str | None, tail: int | None, search: str, source: str | None
) -> StreamLogsRequest:
    """Return a request for output, from the options that all commands for output share."""
    if following and (since or until or tail):
        raise typer.BadParameter("--follow shows what comes; it can't be combined with --since, --until or --tail")
    if source is not None and source not in _SOURCES:
        raise typer.BadParameter(f"--source {source!r}: want stdout, stderr or system")
    whole_range = since is not None or until is not None
    request = StreamLogsRequest(
        follow=following, search=search, tail=tail or (_MOST_TAIL if whole_range else _DEFAULT_TAIL)
    )
    if source is not None:
        request.source = _SOURCES[source]
    if since is not None:
        request.since = _time("--since", since)
    if until is not None:
        request.until = _time("--until", until)
    return request


def show_logs(request: StreamLogsRequest, *, timestamps: bool) -> None:
    """Print output, each line to the stream it came from."""
    display = TerminalDisplay(timestamps=timestamps)
    entry: LogEntry
    for entry in follow(shared_client(), request, threading.Event()):
        display.log_entry(entry)


def _time(option: str, text: str) -> Timestamp:
    if (ago := re.fullmatch(r"(\d+)([smhd])", text)) is not None:
        moment = datetime.now(timezone.utc) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    else:
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
        except ValueError as err:
            raise typer.BadParameter(
                f"{option} {text!r}: want a time such as 2026-01-31T12:00:00, or 10m, 2h, 1d"
            ) from err
    return Timestamp(seconds=int(moment.timestamp()), nanos=moment.microsecond * 1000)


def _confirm_stop(client: Client, app: str) -> None:
    running = 0
    if app.startswith("ap-"):
        containers = client.call(lambda: client.containers.list_containers(ListContainersRequest(app_id=app)))
        running = len(containers.containers)
    tables.confirm(f"Stop app {app}{f' with {running} containers' if running else ''}?")


def _environment(given: str | None) -> str:
    return given or config.environment


def _row(app: AppInfo) -> list[object]:
    return [
        app.app_id,
        app.description,
        _STATES.get(app.state, "unknown"),
        app.num_containers,
        tables.local_time(app.created_at),
        tables.local_time(app.stopped_at),
    ]


def _commit(commit: CommitInfo | None) -> str | None:
    if commit is None:
        return None
    return commit.commit_hash[:7] + ("*" if commit.dirty else "")
