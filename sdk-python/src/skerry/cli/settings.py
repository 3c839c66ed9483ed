"""``skerry config``, ``skerry profile``, ``skerry token`` and ``skerry setup``."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from skerry import config as settings
from skerry import exception as exc
from skerry._client.client import Client, shared_client
from skerry._gen.skerry.v1.token_pb import CreateTokenRequest
from skerry._names import check_environment
from skerry.config import config

from . import tables
from .options import AsJson

config_cli = typer.Typer(help="Show and change settings.", no_args_is_help=True)
profile_cli = typer.Typer(help="Switch between the servers and tokens of ~/.skerry.toml.", no_args_is_help=True)
token_cli = typer.Typer(help="Manage the token that proves who you are.", no_args_is_help=True)

Activate = Annotated[bool, typer.Option("--activate/--no-activate", help="Use the profile from now on.")]
Verify = Annotated[bool, typer.Option("--verify/--no-verify", help="Ask the server whether it knows the token.")]


@config_cli.command()
def show(
    redact: Annotated[bool, typer.Option("--redact/--no-redact", help="Hide secrets.")] = True,
) -> None:
    """Print the settings in force as JSON: variables first, then the profile, then defaults."""
    values = config.as_dict()
    for key in settings.SECRETS:
        if redact and values[key]:
            values[key] = "***"
    print(json.dumps({"profile": config.profile, **values}, indent=2))


@config_cli.command("set-environment")
def set_environment(
    environment: Annotated[str, typer.Argument(help="The environment's name; '' is the server's default.")],
) -> None:
    """Set the environment that commands of this profile work in."""
    if environment:
        check_environment(environment)
    _update(config.profile or "default", {"environment": environment})
    print(f"Environment of profile {config.profile}: {environment or 'the default one'}")


@config_cli.command("set", hidden=True)
def set_value(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The setting, as `skerry config show` names it.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its value.")],
) -> None:
    """Change any setting of the profile in use."""
    if key not in settings.DEFAULTS:
        raise typer.BadParameter(f"setting {key!r} does not exist; there is: {', '.join(settings.DEFAULTS)}")
    if key == "environment" and value:
        check_environment(value)
    _update(config.profile or "default", {key: settings.parse(key, value)})
    print(f"{key} of profile {config.profile}: {'***' if key in settings.SECRETS else value}")


@profile_cli.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles; the one in use is marked."""
    try:
        current = config.profile
    except exc.InvalidError as err:  # none is in use, or several: here one looks which
        current = ""
        print(err, file=sys.stderr)
    rows = [
        ["•" if name == current else "", name, str(table.get("server_url") or settings.DEFAULTS["server_url"])]
        for name, table in config.profiles.items()
    ]
    tables.show(["Active", "Profile", "Server URL"], rows, as_json=as_json)


@profile_cli.command()
def current() -> None:
    """Print the name of the profile in use."""
    print(config.profile or "none")


@profile_cli.command()
def activate(name: Annotated[str, typer.Argument(metavar="NAME", help="The profile to use from now on.")]) -> None:
    """Make another profile the one in use."""
    if name not in config.profiles:
        raise typer.BadParameter(
            f"profile {name!r} is not in {config.path}; there is: {', '.join(config.profiles) or 'none'}"
        )
    _activate(name)
    print(f"Profile in use: {name}")


@token_cli.command("set")
def set_token(
    token_id: Annotated[
        str | None, typer.Option("--token-id", help="The token's id, tk-...; asked for if left out.")
    ] = None,
    token_secret: Annotated[
        str | None,
        typer.Option("--token-secret", help="Its secret; '-' reads it from standard input; asked for if left out."),
    ] = None,
    server_url: Annotated[str | None, typer.Option("--server-url", help="Where the server listens.")] = None,
    activating: Activate = True,
    verify: Verify = True,
) -> None:
    """Store a token in a profile: the one in use, or the one that --profile names, which is made if it is not there.

    [bold]Examples[/bold]

    skerry token set --profile work --server-url https://skerry.example.com
    """
    config.begin()
    token_id = token_id or typer.prompt("Token id")
    token_secret = token_secret or typer.prompt("Token secret", hide_input=True)
    if token_id == "-":  # noqa: S105 - says where to read it
        token_id = sys.stdin.readline().strip()
    if token_secret == "-":  # noqa: S105 - says where to read it
        token_secret = sys.stdin.readline().strip()
    url = (server_url or config.server_url).rstrip("/")
    if verify:
        with Client(url, str(token_id), str(token_secret)) as client:
            client.token_info()
    profile = config.profile or "default"
    changes: dict[str, settings.Value] = {"token_id": str(token_id), "token_secret": str(token_secret)}
    if server_url is not None:
        changes["server_url"] = url
    _update(profile, changes)
    if activating:
        _activate(profile)
    print(f"Stored the token in profile {profile} of {config.path}.")


@token_cli.command()
def new(
    name: Annotated[str, typer.Option("--name", prompt="What the token is for", help="What lists show of it.")],
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", help="An environment that it opens, several are possible; default: yours."),
    ] = None,
) -> None:
    """Make another token on the server, for another person or machine. Its secret is shown this once."""
    client = shared_client()
    request = CreateTokenRequest(name=name, environments=[check_environment(each) for each in environment or ()])
    token = client.call(lambda: client.tokens.create_token(request))
    print(f"token_id = {token.token_id}\ntoken_secret = {token.token_secret}")
    print("\nStore it there with `skerry token set`; the secret is not shown again.", file=sys.stderr)


@token_cli.command()
def info() -> None:
    """Show whose token is used, and for which server."""
    client = shared_client()
    token = client.token_info()
    print(f"Token:   {token.token_id} ({token.name})")
    print(f"Made at: {tables.local_time(token.created_at)}")
    print(f"Opens:   {', '.join(token.environments) or 'all environments'}")
    print(f"Server:  {client.server_url} (version {token.server_version})")


def setup() -> None:
    """Check that a server can be reached with a token, and ask for both if not.

    The first [bold]skerryd up[/bold] on a machine writes a token to ~/.skerry.toml, so there is nothing to do on that one. For a server
    elsewhere make a token there with [bold]skerry token new[/bold].
    """
    try:
        client = shared_client()
        token = client.token_info()
    except (exc.AuthError, exc.ConnectionError) as err:
        if not sys.stdin.isatty():
            raise
        print(f"{err}\n")
        url = typer.prompt("Server URL", default=config.server_url)
        set_token(token_id=None, token_secret=None, server_url=url, activating=True, verify=True)
        return
    print(f"✓ Token {token.token_id} ({token.name}) is known to the server at {client.server_url}.")


def _update(profile: str, changes: dict[str, settings.Value]) -> None:
    profiles = {name: dict(table) for name, table in config.profiles.items()}
    profiles.setdefault(profile, {}).update(changes)
    _write(profiles)


def _activate(profile: str) -> None:
    profiles = {
        name: {key: value for key, value in table.items() if key != "active"} for name, table in config.profiles.items()
    }
    profiles[profile]["active"] = True
    _write(profiles)


def _write(profiles: dict[str, dict[str, settings.Value]]) -> None:
    settings.write(config.path, profiles)
    config.reload()
