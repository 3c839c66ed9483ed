"""``skerry volume``: files that containers and programs share."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import Annotated

import typer

from skerry import Volume
from skerry._client.client import shared_client
from skerry._client.direct import drive
from skerry._objects.named import created_at
from skerry._objects.named import rows as list_rows

from . import tables
from .later import add_command
from .options import AsJson, Environment, Yes, environment_of
from .transfers import Download, print_file, show_progress

cli = typer.Typer(help="Keep files that many containers share.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The volume's name.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all that is in them.")]


@cli.command()
def create(
    name: Name,
    environment: Environment = None,
    version: Annotated[int | None, typer.Option("--version", help="1 or 2, which are the same here.")] = None,
) -> None:
    """Make a volume.

    [bold]Examples[/bold]

    skerry volume create models
    """
    Volume.objects.create(name, version=version, environment_name=environment)
    print(
        f'Created volume {name}. Use it in functions and sandboxes: volumes={{"/data": skerry.Volume.from_name("{name}")}}'
    )


@cli.command("list")
def list_volumes(environment: Environment = None, as_json: AsJson = False) -> None:
    """List volumes, newest first."""
    found = drive(list_rows(Volume._kind, shared_client(), None, None, environment_of(environment)))
    rows = [[info.name, _local(created_at(info)), info.created_by] for info in found]
    tables.show(["Name", "Created at", "Created by"], rows, as_json=as_json)


@cli.command()
def delete(
    name: Name,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Do nothing where there is none.")] = False,
    yes: Yes = False,
    environment: Environment = None,
) -> None:
    """Delete a volume with its history, for good."""
    if not yes:
        tables.confirm(f"Delete volume {name} with all its files and versions?")
    Volume.objects.delete(name, allow_missing=allow_missing, environment_name=environment)
    print(f"Deleted volume {name}.")


@cli.command()
def rename(
    old_name: Annotated[str, typer.Argument(metavar="OLD", help="Its name.")],
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The name it is to have.")],
    yes: Yes = False,
    environment: Environment = None,
) -> None:
    """Rename a volume."""
    if not yes:
        tables.confirm(f"Rename volume {old_name} to {new_name}? What looks it up by its name will not find it.")
    Volume.rename(old_name, new_name, environment_name=environment)
    print(f"Renamed volume {old_name} to {new_name}.")


add_command(cli, "dashboard", "volume dashboard", "Open a volume in the browser.")


@cli.command()
def ls(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder or a file.")] = "/",
    as_json: AsJson = False,
    environment: Environment = None,
) -> None:
    """List what is in a folder of a volume.

    [bold]Examples[/bold]

    skerry volume ls models /checkpoints
    """
    entries = _volume(name, environment).listdir(path)
    if not as_json and not sys.stdout.isatty():
        for entry in entries:
            print(entry.path)
        return
    rows = [
        [
            entry.path,
            _TYPES.get(entry.type.name, "unknown"),
            _local(datetime.fromtimestamp(entry.mtime, timezone.utc)),
            _size(entry.size),
        ]
        for entry in entries
    ]
    tables.show(["Filename", "Type", "Created/Modified", "Size"], rows, as_json=as_json)


_TYPES = {"FILE": "file", "DIRECTORY": "dir", "SYMLINK": "link", "FIFO": "fifo", "SOCKET": "socket"}


@cli.command()
def get(
    name: Name,
    remote: Annotated[str, typer.Argument(metavar="REMOTE", help="A file, or a folder with all that is in it.")],
    local: Annotated[str, typer.Argument(metavar="LOCAL", help='Where to; "-" is the standard output.')] = ".",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    environment: Environment = None,
) -> None:
    """Download files from a volume. With --force, files that are there already with the same size and time are passed over.

    [bold]Examples[/bold]

    skerry volume get models /checkpoints/last.bin

    skerry volume get models /checkpoints ./here

    skerry volume get models notes.txt - | less
    """
    volume = _volume(name, environment)
    if local == "-":
        print_file(volume, remote)
        return
    download = Download(volume, remote, local, force=force)
    with show_progress(f"Downloading from {name}") as progress:
        download.run(progress)
    print(f"Downloaded {download.num_files} files to {download.place}.", file=sys.stderr)


@cli.command()
def put(
    name: Name,
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="A file, or a folder with all that is in it.")],
    remote: Annotated[
        str, typer.Argument(metavar="REMOTE", help='Where to; in front of a "/" at the end, a folder.')
    ] = "/",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")] = False,
    environment: Environment = None,
) -> None:
    """Upload files to a volume: all of them become one version, or none does. What an upload has sent is not sent again by the next.

    [bold]Examples[/bold]

    skerry volume put models ./last.bin /checkpoints/

    skerry volume put models ./checkpoints
    """
    if not os.path.lexists(local):
        hint = "; patterns are not supported" if "*" in local else ""
        raise FileNotFoundError(f"there is no local file or folder {local!r}{hint}")
    if remote.endswith("/"):
        remote += os.path.basename(os.path.abspath(local))
    batch = _volume(name, environment).batch_upload(force)
    with show_progress(f"Uploading to {name}") as progress:
        batch._progress = progress
        with batch:
            if os.path.isdir(local):
                batch.put_directory(local, remote)
            else:
                batch.put_file(local, remote)
    print(f"Uploaded {local} to {remote} of volume {name}.", file=sys.stderr)


@cli.command()
def rm(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or a folder.")],
    recursive: Recursive = False,
    environment: Environment = None,
) -> None:
    """Remove a file or a folder from a volume."""
    _volume(name, environment).remove_file(path, recursive=recursive)
    print(f"Removed {path}.")


@cli.command()
def cp(
    name: Name,
    paths: Annotated[
        list[str], typer.Argument(metavar="SRC... DST", help="Files or folders, and where they are to be.")
    ],
    recursive: Recursive = False,
    environment: Environment = None,
) -> None:
    """Copy within a volume, as cp does. No bytes are moved for it."""
    if len(paths) < 2:
        raise typer.BadParameter("name what to copy, and where to")
    _volume(name, environment).copy_files(paths[:-1], paths[-1], recursive=recursive)
    print(f"Copied {', '.join(paths[:-1])} to {paths[-1]}.")


@cli.command()
def history(
    name: Name,
    most: Annotated[int | None, typer.Option("-n", min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
    environment: Environment = None,
) -> None:
    """List the versions of a volume, newest first."""
    rows = [
        [
            each.version,
            _local(each.created_at),
            each.created_by,
            each.reason,
            each.num_files,
            each.num_bytes if as_json else _size(each.num_bytes),
        ]
        for each in _volume(name, environment).history(max_versions=most)
    ]
    tables.show(["Version", "Created at", "Created by", "Reason", "Files", "Size"], rows, as_json=as_json)


@cli.command()
def restore(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Its number; see `skerry volume history`.")],
    yes: Yes = False,
    environment: Environment = None,
) -> None:
    """Give a volume the content of an old version. That is a new version, so it can be undone in the same way."""
    if not yes:
        tables.confirm(f"Give volume {name} the content of its version {version}?")
    made = _volume(name, environment).restore(version)
    print(f"Volume {name} has the content of version {version} again, as version {made.version}.")


def _volume(name: str, environment: str | None) -> Volume:
    return Volume.from_name(name, environment_name=environment)


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024 or unit == "TiB":
            break
    return f"{size:.1f} {unit}"
