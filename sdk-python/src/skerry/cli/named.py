"""What the commands of objects with names have in common: dicts and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry._client.direct import drive
from skerry._objects.named import created_at

from . import tables
from .options import environment_of

if TYPE_CHECKING:
    from skerry._gen.skerry.v1.object_pb import ObjectInfo
    from skerry._objects.named import Kind, Manager

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Do nothing where there is none.")]


def create(objects: Manager[Any], noun: str, name: str, environment: str | None) -> None:
    """Make an object. Raises AlreadyExistsError."""
    objects.create(name, environment_name=environment)
    print(f"Created {noun} {name}.")


def delete(
    objects: Manager[Any], noun: str, name: str, environment: str | None, *, allow_missing: bool, yes: bool
) -> None:
    """Delete an object, after asking. Raises NotFoundError."""
    if not yes:
        tables.confirm(f"Delete {noun} {name} with all that it holds?")
    objects.delete(name, allow_missing=allow_missing, environment_name=environment)
    print(f"Deleted {noun} {name}.")


def listed(kind: Kind, environment: str | None, **fields: Any) -> list[Any]:
    """Return what the server lists."""
    from skerry._client.client import shared_client
    from skerry._objects.named import rows

    return drive(rows(kind, shared_client(), None, None, environment_of(environment), **fields))


def about(info: ObjectInfo | None) -> list[Any]:
    """Return the cells that every list has: Name, Created at, Created by."""
    assert info is not None  # noqa: S101 - the server sends one
    return [info.name, created_at(info).astimezone().isoformat(" ", "seconds"), info.created_by]
