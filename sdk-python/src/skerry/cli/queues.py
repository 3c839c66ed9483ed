"""``skerry queue``."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from skerry import Queue

from . import named, tables
from .named import AllowMissing, Name
from .options import AsJson, Environment, Yes

cli = typer.Typer(help="Look into queues.", no_args_is_help=True)

Partition = Annotated[
    str | None, typer.Option("--partition", "-p", help="The partition; default: the one without a name.")
]


def _queue(name: str, environment: str | None) -> Queue:
    return Queue.from_name(name, environment_name=environment)


@cli.command()
def create(name: Name, environment: Environment = None) -> None:
    """Make a queue."""
    named.create(Queue.objects, "queue", name, environment)


@cli.command("list")
def list_queues(environment: Environment = None, as_json: AsJson = False) -> None:
    """List queues with how much is in them, newest first."""
    found = named.listed(Queue._kind, environment, with_sizes=True)
    rows = [[*named.about(row.info), row.partitions, row.items] for row in found]
    tables.show(["Name", "Created at", "Created by", "Partitions", "Total size"], rows, as_json=as_json)


@cli.command()
def peek(
    name: Name,
    n: Annotated[int, typer.Argument(metavar="N", min=0, help="How many at most.")] = 1,
    partition: Partition = None,
    environment: Environment = None,
) -> None:
    """Print the first items of a queue, and leave them there."""
    with _queue(name, environment).iterate(partition=partition) as found:
        for item in islice(found, n):
            print(item)


@cli.command("len")
def length(
    name: Name,
    partition: Partition = None,
    total: Annotated[bool, typer.Option("--total", "-t", help="Of all partitions together.")] = False,
    environment: Environment = None,
) -> None:
    """Print how many items there are."""
    print(_queue(name, environment).len(partition=partition, total=total))


@cli.command()
def clear(
    name: Name,
    partition: Partition = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All partitions.")] = False,
    yes: Yes = False,
    environment: Environment = None,
) -> None:
    """Remove all items of a partition, or of all."""
    if not yes:
        tables.confirm(f"Remove all items of queue {name}?")
    _queue(name, environment).clear(partition=partition, all=everything)
    print(f"Cleared queue {name}.")


@cli.command()
def delete(name: Name, allow_missing: AllowMissing = False, yes: Yes = False, environment: Environment = None) -> None:
    """Delete a queue with all its items."""
    named.delete(Queue.objects, "queue", name, environment, allow_missing=allow_missing, yes=yes)
