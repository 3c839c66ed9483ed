"""Commands that a later version of Skerry brings. They are known, so that who types one learns that, and not that it does not exist."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import typer

from skerry.exception import UnimplementedError

from .options import OBSERVABILITY, ONBOARDING, RUNNING, SETTINGS, STORAGE

_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


class Later(NamedTuple):
    """A command, or a group of commands, that is not there yet."""

    name: str
    help: str
    panel: str
    commands: tuple[str, ...] = ()
    """The commands of a group; one of a group in it is written "members list". Empty: it is a command itself."""
    hidden: bool = False


LATER = (
    Later("curl", "Run curl with the headers that a protected web endpoint wants.", RUNNING),
    Later("endpoint", "Serve large language models.", RUNNING, ("create", "list", "stop")),
    Later(
        "cluster", "List and enter groups of containers that work together.", RUNNING, ("list", "shell"), hidden=True
    ),
    Later(
        "launch", "Start a notebook server or an editor in a container.", RUNNING, ("jupyter", "vscode"), hidden=True
    ),
    Later(
        "nfs",
        "Network file systems; deprecated.",
        STORAGE,
        ("list", "create", "ls", "put", "get", "rm", "delete"),
        hidden=True,
    ),
    Later("bootstrap", "Fetch a template to begin with.", ONBOARDING),
    Later(
        "skills",
        "Give coding assistants what they need to know about Skerry.",
        ONBOARDING,
        ("install", "update", "show"),
    ),
    Later(
        "workspace",
        "Manage the workspace.",
        SETTINGS,
        (
            *("members list", "proxy-tokens create", "proxy-tokens list", "proxy-tokens allow", "proxy-tokens revoke"),
            *("proxy-tokens delete", "settings list", "settings set"),
        ),
    ),
    Later("billing", "Report what was used.", OBSERVABILITY, ("report", "summary", "rates")),
    Later("dashboard", "Open the dashboard in the browser.", OBSERVABILITY),
)


def refuse(command: str) -> NoReturn:
    """Say that a command is not there yet. Raises UnimplementedError."""
    raise UnimplementedError(f"`skerry {command}` is not available in this version of skerry yet")


def add_command(
    cli: typer.Typer, name: str, path: str, summary: str, *, hidden: bool = False, panel: str | None = None
) -> None:
    """Add a command that is not there yet, whatever its arguments are. The path is what follows "skerry" on the line."""

    def command(_context: typer.Context) -> None:
        refuse(path)

    command.__doc__ = f"{summary} Not available yet.".strip()
    cli.command(name, hidden=hidden, rich_help_panel=panel, context_settings=_ANYTHING)(command)


def add_later(cli: typer.Typer) -> None:
    """Add the commands that are not there yet."""
    for later in LATER:
        if later.commands:
            group = _group(later.name, later.help, later.commands)
            cli.add_typer(group, name=later.name, hidden=later.hidden, rich_help_panel=later.panel)
        else:
            add_command(cli, later.name, later.name, later.help, hidden=later.hidden, panel=later.panel)


def add_group(cli: typer.Typer, path: str, commands: tuple[str, ...], *, hidden: bool = False) -> None:
    """Add a group of commands that is not there yet to one that is. The path is what follows "skerry" on the line."""
    cli.add_typer(_group(path, "", commands), name=path.rpartition(" ")[2], hidden=hidden)


def _group(path: str, summary: str, commands: tuple[str, ...]) -> typer.Typer:
    group = typer.Typer(help=f"{summary} Not available yet.", no_args_is_help=True)
    nested: dict[str, list[str]] = {}
    for command in commands:
        name, _, rest = command.partition(" ")
        if rest:
            nested.setdefault(name, []).append(rest)
        else:
            add_command(group, name, f"{path} {name}", "")
    for name, rest in nested.items():
        group.add_typer(_group(f"{path} {name}", "", tuple(rest)), name=name)
    return group
