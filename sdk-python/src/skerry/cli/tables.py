"""Lists on the terminal: tables for people, ``--json`` for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protobuf.wkt import Timestamp
    from rich.console import RenderableType

# Characters of an id such as "ap-A4VQsbHznWdJxL08ckYuky".
_ID_WIDTH = 25
_UNBOUNDED = 1000


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print rows under their column titles, or as a JSON array of objects whose keys are the titles in snake case."""
    if as_json:
        keys = [column.lower().replace(" ", "_") for column in columns]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    table = Table(header_style="bold")
    for column in columns:
        # An id that is cut can't be copied: the other columns give way.
        table.add_column(
            column, no_wrap=column.endswith(" ID"), min_width=_ID_WIDTH if column.endswith(" ID") else None
        )
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    print_wide(table)


def print_wide(content: RenderableType) -> None:
    """Print to standard output: as wide as the terminal or, into a file or a pipe, as a line needs."""
    Console(width=None if sys.stdout.isatty() else _UNBOUNDED, highlight=False).print(content)


def local_time(stamp: Timestamp | None) -> str | None:
    """Return a time in the local zone, such as "2026-11-22 21:36:05+00:00"."""
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp.seconds, timezone.utc).astimezone().isoformat(" ")


def confirm(question: str) -> None:
    """Ask before something is ended, and end the command with code 1 unless the answer is yes."""
    need_terminal(question)
    typer.confirm(question, abort=True)


def need_terminal(question: str) -> None:
    """Give the command up where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} There is no terminal to ask on; say --yes")
