"""``skerry secret``: values that become environment variables of containers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from skerry._client.client import shared_client
from skerry._client.direct import drive
from skerry._gen.skerry.v1.object_pb import ObjectCreation
from skerry._gen.skerry.v1.secret_pb import DeleteSecretRequest, GetSecretRequest, UpdateSecretRequest
from skerry._names import check_name, check_variables
from skerry._objects.named import rows
from skerry._objects.secret import Secret
from skerry.exception import AlreadyExistsError

from . import tables
from .options import AsJson, Environment, Yes, environment_of

cli = typer.Typer(help="Keep secrets on the server: values that become environment variables.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]


@cli.command("list")
def list_secrets(environment: Environment = None, as_json: AsJson = False) -> None:
    """List the secrets of an environment, newest first. What is in them is never shown."""
    found = drive(rows(Secret._kind, shared_client(), None, None, environment_of(environment)))
    table: list[list[Any]] = [
        [
            each.info.name,
            tables.local_time(each.info.created_at),
            each.info.created_by or None,
            tables.local_time(each.last_used_at),
        ]
        for each in found
    ]
    tables.show(["Name", "Created at", "Created by", "Last used at"], table, as_json=as_json)


@cli.command()
def create(
    name: Name,
    keyvalues: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Its variables; KEY=- asks for the value in an editor."),
    ] = None,
    environment: Environment = None,
    from_dotenv: Annotated[
        Path | None, typer.Option("--from-dotenv", help="Take those of a file such as .env.")
    ] = None,
    from_json: Annotated[
        Path | None, typer.Option("--from-json", help="Take those of a JSON object in a file; '-' is standard input.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace all of one that is there.")] = False,
) -> None:
    """Make a secret. Values on the command line are seen by others on this machine; the other ways keep them to you.

    [bold]Examples[/bold]

    skerry secret create database PASSWORD=-

    skerry secret create database --from-dotenv .env
    """
    variables: dict[str, str] = {}
    if from_dotenv is not None:
        variables.update(_of_dotenv(from_dotenv))
    if from_json is not None:
        variables.update(_of_json(from_json))
    for each in keyvalues or ():
        key, separator, value = each.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{each.partition('=')[0]!r}: want KEY=VALUE")
        variables[key] = _edited(key) if value == "-" else value
    if not variables:
        raise typer.BadParameter("a secret without variables: give KEY=VALUE, --from-dotenv or --from-json")
    variables = check_variables("skerry secret create", variables)
    client, where = shared_client(), environment_of(environment)
    request = GetSecretRequest(
        name=check_name("secret", name), environment=where, creation=ObjectCreation.MUST_BE_NEW, variables=variables
    )
    try:
        client.call(lambda: client.secrets.get_secret(request))
    except AlreadyExistsError:
        if not force:
            raise AlreadyExistsError(f"secret {name!r} is there already; replace all of it with --force") from None
        secret_id = _find(name, where)
        update = UpdateSecretRequest(secret_id=secret_id, variables=variables, replace=True)
        client.call(lambda: client.secrets.update_secret(update))
    print(f"Kept secret {name} with {', '.join(sorted(variables))}. Use it as: skerry.Secret.from_name({name!r})")


@cli.command()
def delete(
    name: Name,
    environment: Environment = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="It is no error if there is none.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a secret for good. Containers that need it do not start any more."""
    from skerry.exception import NotFoundError

    client = shared_client()
    try:
        secret_id = _find(name, environment_of(environment))
    except NotFoundError:
        if allow_missing:
            return
        raise
    if not yes:
        tables.confirm(f"Delete secret {name} for good?")
    client.call(lambda: client.secrets.delete_secret(DeleteSecretRequest(secret_id=secret_id)))
    print(f"Deleted secret {name}.")


def _find(name: str, environment: str) -> str:
    client = shared_client()
    request = GetSecretRequest(name=check_name("secret", name), environment=environment)
    info = client.call(lambda: client.secrets.get_secret(request)).info
    assert info is not None  # noqa: S101 - the protocol says so
    return info.id


def _edited(key: str) -> str:
    """Return what is written in an editor, without the line break at its end."""
    text = _changed(f"\n# The value of {key} goes above this line.\n")
    value = text.partition(f"# The value of {key} goes above this line.")[0].rstrip("\n")
    if not value:
        raise typer.BadParameter(f"{key}: the editor was left without a value")
    return value


def _changed(text: str) -> str:
    """Return what the user makes of a text in an editor, in a file that is theirs alone and gone afterwards."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
        path = Path(folder, "value.txt")
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the user's own editor
        except OSError as err:
            raise typer.BadParameter(f"editor {editor!r} could not be started: {err.strerror}; set EDITOR") from None
        if done.returncode != 0:
            raise typer.BadParameter(f"editor {editor!r} ended with exit code {done.returncode}")
        return path.read_text(encoding="utf-8")


def _of_dotenv(path: Path) -> dict[str, str]:
    from skerry._objects.dotenv import read_dotenv

    if not path.is_file():
        raise typer.BadParameter(f"{path}: there is no such file")
    return {key: value for key, value in read_dotenv(path.parent, path.name).items() if value is not None}


def _of_json(path: Path) -> dict[str, str]:
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    try:
        found: Any = json.loads(text)
    except ValueError:
        raise typer.BadParameter(f"{path}: no JSON") from None  # the error would quote the text
    values: dict[str, Any] = cast("dict[str, Any]", found) if isinstance(found, dict) else {"": None}
    if not all(isinstance(value, str) for value in values.values()):
        raise typer.BadParameter(f"{path}: want a JSON object whose values are strings")
    return values
