"""``skerry environment``: namespaces of everything that has a name."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.environment_pb import (
    CreateEnvironmentRequest,
    DeleteEnvironmentRequest,
    GetEnvironmentRequest,
    ListEnvironmentsRequest,
    UpdateEnvironmentRequest,
)
from skerry._names import check_environment
from skerry.config import config

from . import tables
from .later import add_group, refuse
from .options import AsJson, Yes

cli = typer.Typer(help="Manage environments.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment's name.")]


@cli.command("list")
def list_environments(as_json: AsJson = False) -> None:
    """List the environments that the token opens; the one in use is marked."""
    client = shared_client()
    found = client.call(lambda: client.environments.list_environments(ListEnvironmentsRequest())).environments
    active = config.environment
    if not active:
        default = client.call(lambda: client.environments.get_environment(GetEnvironmentRequest())).environment
        active = default.name if default is not None else ""
    rows = [
        [
            info.name,
            info.name == active if as_json else "•" if info.name == active else "",
            tables.local_time(info.created_at),
            info.created_by or None,
            info.environment_id,
        ]
        for info in found
    ]
    tables.show(["Name", "Active", "Created at", "Created by", "Environment ID"], rows, as_json=as_json)


@cli.command()
def create(
    name: Name,
    restricted: Annotated[bool, typer.Option("--restricted", help="Not available yet.", hidden=True)] = False,
    default_role: Annotated[str | None, typer.Option("--default-role", help="Not available yet.", hidden=True)] = None,
) -> None:
    """Make an environment.

    [bold]Examples[/bold]

    skerry environment create staging

    skerry deploy --env staging app.py
    """
    if restricted or default_role is not None:
        refuse("environment create --restricted, --default-role")
    client = shared_client()
    request = CreateEnvironmentRequest(name=check_environment(name))
    client.call(lambda: client.environments.create_environment(request))
    print(f"Made environment {name}. Use it with --env {name}, or: skerry config set-environment {name}")


@cli.command()
def update(
    name: Name,
    set_name: Annotated[str | None, typer.Option("--set-name", help="The name it is to have.")] = None,
    set_web_suffix: Annotated[
        str | None, typer.Option("--set-web-suffix", help="Not available yet.", hidden=True)
    ] = None,
) -> None:
    """Rename an environment. What is in it, and what runs, stays as it is.

    [bold]Examples[/bold]

    skerry environment update staging --set-name preview
    """
    if set_web_suffix is not None:
        refuse("environment update --set-web-suffix")
    if set_name is None:
        raise typer.BadParameter("say what to change: --set-name NAME")
    client = shared_client()
    request = UpdateEnvironmentRequest(name=check_environment(name), new_name=check_environment(set_name))
    client.call(lambda: client.environments.update_environment(request))
    print(f"Environment {name} is called {set_name} now.")


@cli.command()
def delete(name: Name, yes: Yes = False) -> None:
    """Delete an environment with all that is in it: its apps are stopped, and what has a name is removed, for good."""
    client = shared_client()
    client.call(lambda: client.environments.get_environment(GetEnvironmentRequest(name=check_environment(name))))
    if not yes:
        tables.confirm(f"Stop all apps of environment {name}, and remove all that is in it for good?")
    client.call(lambda: client.environments.delete_environment(DeleteEnvironmentRequest(name=name)))
    print(f"Deleted environment {name}.")


add_group(cli, "environment roles", ("list", "update"))
add_group(cli, "environment billing", ("report", "summary"))
add_group(cli, "environment members", ("list", "update", "remove"), hidden=True)
