"""``skerry app``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.app_pb import (
    AppInfo,
    AppState,
    CommitInfo,
    GetAppHistoryRequest,
    GetAppRequest,
    ListAppsRequest,
    StopAppRequest,
    StopReason,
)
from skerry._gen.skerry.v1.deployment_pb import DeploymentStrategy, RedeployAppRequest
from skerry._run.terminal import TerminalDisplay

from . import tables
from .later import add_command
from .logs import Follow, Search, Since, Source, Tail, Until, logs_request, show_logs
from .options import AppArgument, AsJson, Environment, Strategy, Timestamps, Yes, check_strategy, environment_of

if TYPE_CHECKING:
    from skerry._run.terminal import OriginId

cli = typer.Typer(help="List, redeploy and stop apps, and read their output.", no_args_is_help=True)

_STATES = {
    AppState.INITIALIZING: "initializing...",
    AppState.EPHEMERAL: "ephemeral",
    AppState.DETACHED: "ephemeral (detached)",
    AppState.DEPLOYED: "deployed",
    AppState.STOPPING: "stopping...",
    AppState.STOPPED: "stopped",
}
_STRATEGIES = {"rolling": DeploymentStrategy.ROLLING, "recreate": DeploymentStrategy.RECREATE}


@cli.command("list")
def list_apps(environment: Environment = None, as_json: AsJson = False) -> None:
    """List apps that run, and those that stopped in the last day."""
    client = shared_client()
    request = ListAppsRequest(environment=environment_of(environment))
    apps = client.call(lambda: client.apps.list_apps(request)).apps
    columns = ["App ID", "Description", "State", "Tasks", "Created at", "Stopped at"]
    tables.show(columns, [_row(app) for app in apps], as_json=as_json)


@cli.command()
def logs(
    app: AppArgument,
    following: Follow = False,
    since: Since = None,
    until: Until = None,
    tail: Tail = None,
    search: Search = "",
    function: Annotated[str, typer.Option("--function", metavar="fu-...", help="Only this function.")] = "",
    call: Annotated[
        str, typer.Option("--function-call", metavar="fc-...", help="Only what inputs of this call wrote.")
    ] = "",
    container: Annotated[str, typer.Option("--container", metavar="ta-...", help="Only this container.")] = "",
    source: Source = None,
    timestamps: Timestamps = False,
    show_function: Annotated[
        bool, typer.Option("--show-function-id", help="Show the function's id on each line.")
    ] = False,
    show_call: Annotated[
        bool, typer.Option("--show-function-call-id", help="Show the call's id on each line.")
    ] = False,
    show_container: Annotated[
        bool, typer.Option("--show-container-id", help="Show the container's id on each line.")
    ] = False,
    environment: Environment = None,
) -> None:
    """Show what an app's functions have printed: the last 100 entries, or what the options ask for.

    [bold]Examples[/bold]

    skerry app logs my-app -f

    skerry app logs my-app --since 2h --until 1h --search error

    skerry app logs my-app --function-call fc-... --timestamps
    """
    request = logs_request(following=following, since=since, until=until, tail=tail, search=search, source=source)
    request.app = app
    request.environment = environment_of(environment)
    request.function_id = function
    request.call_id = call
    request.container_id = container
    fields: dict[OriginId, bool] = {"function_id": show_function, "call_id": show_call, "container_id": show_container}
    display = TerminalDisplay(timestamps=timestamps, ids=[field for field, shown in fields.items() if shown])
    show_logs(request, display)


@cli.command()
def history(app: AppArgument, as_json: AsJson = False, environment: Environment = None) -> None:
    """List an app's deployments, newest first. A * after the commit means that there were uncommitted changes."""
    client = shared_client()
    request = GetAppHistoryRequest(app=app, environment=environment_of(environment))
    deployments = client.call(lambda: client.apps.get_app_history(request)).deployments
    columns = ["Version", "Time deployed", "Client", "Deployed by", "Commit", "Tag"]
    rows = [
        [f"v{d.version}", tables.local_time(d.deployed_at), d.client_version, d.deployed_by, _commit(d.commit), d.tag]
        for d in deployments
    ]
    tables.show(columns, rows, as_json=as_json)


@cli.command()
def rollback(
    app: AppArgument,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="The version to go back to, such as v3; default: the one before."),
    ] = None,
    strategy: Strategy = "rolling",
    environment: Environment = None,
) -> None:
    """Deploy an earlier version of an app again, as a new version.

    [bold]Examples[/bold]

    skerry app rollback my-app

    skerry app rollback my-app v3
    """
    number = 0
    if version is not None:
        if (match := re.fullmatch(r"v?([1-9]\d{0,8})", version)) is None:
            raise typer.BadParameter(f"version {version!r}: want vN, such as v3; see `skerry app history {app}`")
        number = int(match[1])
    request = RedeployAppRequest(app=app, environment=environment_of(environment), version=number)
    _redeploy(app, request, strategy, "rolled back to")


@cli.command()
def rollover(app: AppArgument, strategy: Strategy = "rolling", environment: Environment = None) -> None:
    """Deploy an app's version again with new containers."""
    request = RedeployAppRequest(app=app, environment=environment_of(environment), rollover=True)
    _redeploy(app, request, strategy, "rolled over, with the functions of")


@cli.command()
def stop(app: AppArgument, yes: Yes = False, environment: Environment = None) -> None:
    """Stop an app for good: its containers end, and its inputs that wait or run are cancelled."""
    client = shared_client()
    where = environment_of(environment)
    if not yes:
        tables.need_terminal(f"Stop app {app}?")
        info = client.call(lambda: client.apps.get_app(GetAppRequest(app=app, environment=where))).app
        if info is not None and info.state == AppState.STOPPED:
            _already_stopped(app)
        tables.confirm(f"Stop app {app}, which has {_containers(0 if info is None else info.num_containers)}?")
    request = StopAppRequest(app=app, environment=where, reason=StopReason.REQUESTED)
    response = client.call(lambda: client.apps.stop_app(request))
    if response.already_stopped:
        _already_stopped(app)
    print(f"Stopped app {app} with {_containers(response.num_containers)}.")


add_command(cli, "promote", "app promote", "Make a staged version the current one.", hidden=True)
add_command(cli, "dashboard", "app dashboard", "Open an app in the browser.")


def _already_stopped(app: str) -> NoReturn:
    print(f"App {app} has been stopped already.")
    raise typer.Exit(1)


def _containers(count: int) -> str:
    return f"{count or 'no'} container{'' if count == 1 else 's'}"


def _redeploy(app: str, request: RedeployAppRequest, strategy: str, words: str) -> None:
    client = shared_client()
    request.strategy = _STRATEGIES[check_strategy(strategy)]
    done = client.call(lambda: client.apps.redeploy_app(request))
    print(f"App {app} {words} v{done.source_version}: it is v{done.version} now.")


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
