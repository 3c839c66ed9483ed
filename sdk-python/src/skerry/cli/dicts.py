"""``skerry dict``."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated, Any

import typer

from skerry import Dict
from skerry.exception import NotFoundError

from . import named, tables
from .named import AllowMissing, Name
from .options import AsJson, Environment, Yes

cli = typer.Typer(help="Look into dicts.", no_args_is_help=True)


def _dict(name: str, environment: str | None) -> Dict:
    return Dict.from_name(name, environment_name=environment)


@cli.command()
def create(name: Name, environment: Environment = None) -> None:
    """Make a dict."""
    named.create(Dict.objects, "dict", name, environment)


@cli.command("list")
def list_dicts(environment: Environment = None, as_json: AsJson = False) -> None:
    """List dicts, newest first."""
    rows = [named.about(info) for info in named.listed(Dict._kind, environment)]
    tables.show(["Name", "Created at", "Created by"], rows, as_json=as_json)


@cli.command()
def get(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key, which is text.")],
    environment: Environment = None,
) -> None:
    """Print the value of a key."""
    missing = object()
    value = _dict(name, environment).get(key, missing)
    if value is missing:
        raise NotFoundError(f"dict {name!r} has no key {key!r}; `skerry dict items {name}` shows those that it has")
    print(value)


@cli.command()
def items(
    name: Name,
    n: Annotated[int, typer.Argument(metavar="N", min=0, help="How many at most.")] = 20,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All of them.")] = False,
    use_repr: Annotated[bool, typer.Option("--repr", "-r", help="Show keys and values as Python writes them.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Print entries, in no order."""
    with _dict(name, environment).items() as found:
        rows: list[tuple[Any, Any]] = list(found if everything else islice(found, n + 1))
    more = not everything and len(rows) > n
    rows = rows if everything else rows[:n]
    if as_json:
        show = repr if use_repr else _plain
        print(json.dumps([{"key": show(key), "value": show(value)} for key, value in rows], indent=2))
        return
    show = repr if use_repr else str
    tables.show(["Key", "Value"], [[show(key), show(value)] for key, value in rows], as_json=False)
    if more:
        print(f"There are more: say --all, or how many (these are {n}).")


@cli.command()
def clear(name: Name, yes: Yes = False, environment: Environment = None) -> None:
    """Remove all entries of a dict."""
    if not yes:
        tables.confirm(f"Remove all entries of dict {name}?")
    _dict(name, environment).clear()
    print(f"Cleared dict {name}.")


@cli.command()
def delete(name: Name, allow_missing: AllowMissing = False, yes: Yes = False, environment: Environment = None) -> None:
    """Delete a dict with all its entries."""
    named.delete(Dict.objects, "dict", name, environment, allow_missing=allow_missing, yes=yes)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, or its text."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value
