"""``skerry container``."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.container_pb import ExecStart, ListContainersRequest, StopContainerRequest

from . import tables
from .apps import AsJson, Follow, Search, Since, Source, Tail, Timestamps, Until, Yes, logs_request, show_logs
from .terminal import run_interactive

cli = typer.Typer(help="List, enter and stop running containers.", no_args_is_help=True)

ContainerArgument = Annotated[str, typer.Argument(metavar="ID", help="The container's id, ta-....")]


@cli.command("list")
def list_containers(
    app_id: Annotated[str, typer.Option("--app-id", help="Only those of this app, ap-....")] = "",
    as_json: AsJson = False,
) -> None:
    """List containers that start or run, newest first."""
    client = shared_client()
    response = client.call(lambda: client.containers.list_containers(ListContainersRequest(app_id=app_id)))
    rows = [
        [c.container_id, c.app_id, c.app_description, c.function_name, tables.local_time(c.ready_at) or "Pending"]
        for c in response.containers
    ]
    tables.show(["Container ID", "App ID", "App Name", "Function", "Start Time"], rows, as_json=as_json)


@cli.command()
def stop(
    container: ContainerArgument,
    graceful: Annotated[bool, typer.Option("--graceful", help="Let it finish the inputs it has.")] = False,
    yes: Yes = False,
) -> None:
    """Stop a container. Inputs that run in it are run again elsewhere."""
    if not yes:
        tables.confirm(f"Stop container {container}?")
    client = shared_client()
    client.call(
        lambda: client.containers.stop_container(StopContainerRequest(container_id=container, graceful=graceful))
    )
    print(f"Stopped container {container}.")


@cli.command()
def logs(
    container: ContainerArgument,
    following: Follow = False,
    everything: Annotated[bool, typer.Option("--all", help="All of it, not only the last 100 lines.")] = False,
    since: Since = None,
    until: Until = None,
    tail: Tail = None,
    search: Search = "",
    source: Source = None,
    timestamps: Timestamps = False,
) -> None:
    """Show what a container has printed."""
    request = logs_request(following=following, since=since, until=until, tail=tail, search=search, source=source)
    request.container_id = container
    if everything:
        request.tail = 0
    show_logs(request, timestamps=timestamps)


@cli.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    container: ContainerArgument,
    command: Annotated[list[str], typer.Argument(metavar="CMD...", help="The program and its arguments.")],
    pty: Annotated[
        bool | None, typer.Option("--pty/--no-pty", help="Give it a terminal; default: if this is one.")
    ] = None,
) -> None:
    """Run a command in a container, such as a shell, and exit with its exit code.

    [bold]Example[/bold]

    skerry container exec ta-... bash
    """
    command = command[1:] if command[0] == "--" else command
    argv = shlex.split(command[0]) if len(command) == 1 else command
    with_terminal = sys.stdin.isatty() and sys.stdout.isatty() if pty is None else pty
    code = run_interactive(shared_client(), ExecStart(container_id=container, argv=argv), pty=with_terminal)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: a thread may wait for a key that is never pressed, and the transport's own threads, which draw from the same
    # queue, bring an interpreter down that is ending under them.
    os._exit(code)
