"""docs/reference/commands.md: the skerry command, from its own help."""

import re
from typing import Any

import typer
from skerry.cli.root import cli

from tools.docs.page import page, table

LATER = "Not available yet."


def pages() -> dict[str, str]:
    """Return the page."""
    root: Any = typer.main.get_command(cli)
    parts: list[str] = [_help(root), "Options of every command:", _options(root)]
    later: list[str] = []
    for path, command in _commands(root, "skerry"):
        if LATER in (command.help or ""):
            later.append(path)
        else:
            parts += [f"## {path}", f"```text\n{_usage(path, command)}\n```", _help(command), _options(command)]
    parts += ["## Not available yet", "Known, and refused with an error that says so: " + ", ".join(f"`{path}`" for path in later) + "."]
    return {"docs/reference/commands.md": page("The skerry command", "sdk-python/src/skerry/cli", *parts)}


def _commands(group: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if LATER in (command.help or ""):
                found.append((f"{path} {name}", command))
            else:
                found += _commands(command, f"{path} {name}")
        elif not command.hidden:
            found.append((f"{path} {name}", command))
    return found


def _usage(path: str, command: Any) -> str:
    words = [path, "[OPTIONS]"] if any(_is_option(p) for p in command.params) else [path]
    for parameter in command.params:
        if not _is_option(parameter):
            name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs == -1 else "")
            words.append(name if parameter.required else f"[{name}]")
    return " ".join(words)


def _is_option(parameter: Any) -> bool:
    return parameter.opts[0].startswith("-")


def _options(command: Any) -> str:
    rows = [[_names(p), p.help or ""] for p in command.params if getattr(p, "help", None) and not p.hidden]
    return table(["argument or option", "meaning"], rows) if rows else ""


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"{names} {parameter.metavar}" if parameter.metavar else names


def _help(command: Any) -> str:
    """Return the help text as Markdown: lines under "Examples" are commands."""
    text, _, examples = (command.help or "").partition("[bold]Examples[/bold]")
    text = re.sub(r"\[/?bold\]", "`", text).replace("\b", "")
    shown = "\n".join(line.strip() for line in examples.splitlines() if line.strip())
    return text.strip() + (f"\n\n```console\n{shown}\n```" if shown else "")
