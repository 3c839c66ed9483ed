"""All commands in one place, and what becomes of their errors."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import skerry
from skerry.config import config
from skerry.exception import InvalidError

from . import (
    apps,
    calls,
    containers,
    dicts,
    environments,
    images,
    queues,
    sandboxes,
    schedules,
    secrets,
    settings,
    volumes,
)
from .changelog import changelog
from .deploy import deploy
from .errors import has_remote_frames, show_error
from .later import add_later
from .options import OBSERVABILITY, ONBOARDING, RUNNING, SETTINGS, STORAGE
from .run import run
from .serve import serve
from .shell import shell

HELP = """Run Python functions in sandboxes on your own machines.

Write an app, run it with [bold]skerry run FILE[/bold], deploy it with [bold]skerry deploy FILE[/bold]. The server is started with
[bold]skerryd up[/bold]; where it listens and which token is used is in ~/.skerry.toml and in SKERRY_* variables.
"""

# Options of `skerry run` that take a value: what follows them is not the reference.
_VALUE_OPTIONS = frozenset({"-n", "--name", "-w", "--write-result", "-e", "--env"})

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _CarriedError(Exception):
    """Carries an exception of the user's past the parser, which takes some for its own: those of an ended input or a broken pipe."""

    def __init__(self, error: EOFError | OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Commands(TyperGroup):
    """All commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (EOFError, OSError) as err:
            raise _CarriedError(err) from err


cli = typer.Typer(
    name="skerry",
    cls=_Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"skerry client version: {skerry.__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="The profile of ~/.skerry.toml to use; may stand anywhere on the line.")
    ] = None,
) -> None:
    if profile:
        config.choose(profile)
    _set_log_level()


def _set_log_level() -> None:
    try:
        level = str(config.get("loglevel")).upper()
    except InvalidError:
        return  # the commands that set settings right have to work; those that need them say what is wrong
    if level not in _LEVELS:
        raise InvalidError(f"loglevel {level!r}: want one of {', '.join(_LEVELS)}")
    logging.getLogger("skerry").setLevel(level)


_PROGRAM_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}

cli.command(rich_help_panel=RUNNING, context_settings=_PROGRAM_ARGUMENTS)(run)
cli.command(rich_help_panel=RUNNING)(deploy)
cli.command(rich_help_panel=RUNNING)(serve)
cli.command(rich_help_panel=RUNNING)(shell)
cli.add_typer(apps.cli, name="app", rich_help_panel=RUNNING)
cli.add_typer(containers.cli, name="container", rich_help_panel=RUNNING)
cli.add_typer(sandboxes.cli, name="sandbox", rich_help_panel=RUNNING)
cli.add_typer(images.cli, name="image", rich_help_panel=STORAGE)
cli.add_typer(dicts.cli, name="dict", rich_help_panel=STORAGE)
cli.add_typer(queues.cli, name="queue", rich_help_panel=STORAGE)
cli.add_typer(volumes.cli, name="volume", rich_help_panel=STORAGE)
cli.add_typer(calls.cli, name="call", rich_help_panel=RUNNING)
cli.add_typer(schedules.cli, name="schedule", rich_help_panel=RUNNING)
cli.add_typer(secrets.cli, name="secret", rich_help_panel=STORAGE)
cli.command(rich_help_panel=ONBOARDING)(settings.setup)
cli.add_typer(settings.token_cli, name="token", rich_help_panel=ONBOARDING)
cli.add_typer(settings.config_cli, name="config", rich_help_panel=SETTINGS)
cli.add_typer(settings.profile_cli, name="profile", rich_help_panel=SETTINGS)
cli.add_typer(environments.cli, name="environment", rich_help_panel=SETTINGS)
cli.command(rich_help_panel=OBSERVABILITY)(changelog)
add_later(cli)


def run_command(arguments: list[str]) -> int:
    """Run a command and return the exit code."""
    try:
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
        _command()(_profile_first(arguments), prog_name="skerry", obj=list(arguments))
    except SystemExit as err:
        return _code(err)
    except KeyboardInterrupt:
        return 130
    except _CarriedError as failed:
        if isinstance(failed.error, BrokenPipeError) and not has_remote_frames(failed.error):
            # Whoever read our output has gone; nothing more may be written, at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        show_error(failed.error)
        return 1
    except Exception as err:
        show_error(err)
        return 1
    return 0


def _command() -> Any:
    command = typer.main.get_command(cli)
    _reflow(command)
    return command


def _reflow(command: Any) -> None:
    """Have the terminal's width break the lines of texts, and not the source's."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for part in getattr(command, "commands", {}).values():
        _reflow(part)


def _code(err: SystemExit) -> int:
    if err.code is None or isinstance(err.code, int):
        return err.code or 0
    print(err.code, file=sys.stderr)
    return 1


def _profile_first(arguments: list[str]) -> list[str]:
    """Move ``--profile NAME`` to where the parser takes it, unless it belongs to the user's own command."""
    end = _own_end(arguments)
    own, rest = arguments[:end], arguments[end:]
    for place, argument in enumerate(own):
        if argument == "--profile" and place + 1 < len(own):
            return [*own[place : place + 2], *own[:place], *own[place + 2 :], *rest]
        if argument.startswith("--profile="):
            return [argument, *own[:place], *own[place + 1 :], *rest]
    return arguments


def _own_end(arguments: list[str]) -> int:
    """Return where the arguments end that belong to skerry: after the reference of ``run``, after the id of ``container exec``."""
    words = [place for place, argument in enumerate(arguments) if not argument.startswith("-")]
    if "--" in arguments:
        words = [place for place in words if place < arguments.index("--")]
        limit = arguments.index("--")
    else:
        limit = len(arguments)
    values = {
        place + 1 for place, argument in enumerate(arguments) if argument in _VALUE_OPTIONS or argument == "--profile"
    }
    words = [place for place in words if place not in values]
    names = [arguments[place] for place in words]
    if names[:1] == ["run"] and len(words) > 1:
        return words[1] + 1
    if names[:2] in (["container", "exec"], ["sandbox", "exec"]) and len(words) > 2:
        return words[2] + 1
    return limit
