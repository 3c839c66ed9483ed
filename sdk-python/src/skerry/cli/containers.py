"""``skerry container``."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.app_pb import ListAppsRequest
from skerry._gen.skerry.v1.container_pb import ExecStart, ListContainersRequest, StopContainerRequest
from skerry._run.attach import attach
from skerry._run.terminal import TerminalDisplay

from . import tables
from .ending import end_like
from .logs import Follow, Search, Since, Source, Tail, Until, logs_request, show_logs
from .options import AsJson, Environment, Timestamps, Yes, environment_of

cli = typer.Typer(help="List, enter and stop running containers.", no_args_is_help=True)

ContainerArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The container's id, ta-..., or a sandbox's, sb-....")
]
Pty = Annotated[bool | None, typer.Option("--pty/--no-pty", help="Give it a terminal; default: if this is one.")]


@cli.command("list")
def list_containers(
    app_id: Annotated[str, typer.Option("--app-id", metavar="ap-...", help="Only those of this app.")] = "",
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List containers that start or run, newest first."""
    client = shared_client()
    response = client.call(lambda: client.containers.list_containers(ListContainersRequest(app_id=app_id)))
    containers = response.containers
    if where := environment_of(environment):
        apps = client.call(lambda: client.apps.list_apps(ListAppsRequest(environment=where))).apps
        known = {app.app_id for app in apps}
        containers = [c for c in containers if c.app_id in known]
    rows = [
        [c.container_id, c.app_id, c.app_description, c.function_name, tables.local_time(c.ready_at) or "Pending"]
        for c in containers
    ]
    tables.show(["Container ID", "App ID", "App Name", "Function", "Start Time"], rows, as_json=as_json)


@cli.command()
def logs(
    container: ContainerArgument,
    following: Follow = False,
    everything: Annotated[bool, typer.Option("--all", help="All of it, not only the last 100 entries.")] = False,
    since: Since = None,
    until: Until = None,
    tail: Tail = None,
    search: Search = "",
    source: Source = None,
    timestamps: Timestamps = False,
) -> None:
    """Show what a container has printed: the last 100 entries, or what the options ask for."""
    request = logs_request(
        following=following, since=since, until=until, tail=tail, search=search, source=source, everything=everything
    )
    request.container_id = container
    show_logs(request, TerminalDisplay(timestamps=timestamps))


@cli.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    container: ContainerArgument,
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="The program and its arguments.")],
    pty: Pty = None,
) -> None:
    """Run a command in a container, such as a shell, and exit with its exit code.

    [bold]Examples[/bold]

    skerry container exec ta-... bash

    skerry container exec ta-... -- ls -l /root
    """
    command = command[1:] if command[0] == "--" else command
    argv = shlex.split(command[0]) if len(command) == 1 else command
    if container.startswith("sb-"):
        from .sandbox_use import run_in

        end_like(lambda: run_in(container, argv, pty=wants_pty(pty)))
    start = ExecStart(container_id=container, argv=argv)
    end_like(lambda: attach(shared_client(), start, pty=wants_pty(pty)))


@cli.command()
def stop(
    container: ContainerArgument,
    graceful: Annotated[bool, typer.Option("--graceful", help="Let it finish the inputs it has.")] = False,
    yes: Yes = False,
) -> None:
    """Stop a container. Inputs that run in it are cancelled there and run again elsewhere. A sandbox is ended."""
    if not yes:
        tables.confirm(f"Stop container {container}?")
    if container.startswith("sb-"):
        from skerry import Sandbox

        Sandbox.from_id(container).terminate()
        print(f"Ended {container}.")
        return
    client = shared_client()
    request = StopContainerRequest(container_id=container, graceful=graceful)
    client.call(lambda: client.containers.stop_container(request))
    print(
        f"Container {container} ends once it has finished its inputs."
        if graceful
        else f"Stopped container {container}."
    )


def wants_pty(given: bool | None) -> bool:
    """Return whether a command is to have a terminal: as asked for, or else if this process has one."""
    return sys.stdin.isatty() and sys.stdout.isatty() if given is None else given
