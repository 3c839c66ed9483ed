"""What is done with one sandbox from the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import tables
from .options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry import Image
    from skerry._sandbox.execution import Executing
    from skerry._sandbox.files import SandboxFilesystem

SandboxArgument = Annotated[str, typer.Argument(metavar="sb-...", help="The sandbox's id.")]
PortArgument = Annotated[int, typer.Argument(metavar="PORT", help="A port in it.", min=1, max=65535)]


def find(reference: str) -> Executing:
    """Return a sandbox, sb-..., or a sidecar of it, sb-...:NAME. Raises NotFoundError."""
    from skerry import Sandbox

    sandbox_id, _, sidecar = reference.partition(":")
    sandbox = Sandbox.from_id(sandbox_id)
    return sandbox._experimental_sidecars.get(name=sidecar) if sidecar else sandbox


def whose_output(reference: str) -> tuple[str, str]:
    """Return the app, if it has to be named, and the id of a sandbox, sb-..., or of a sidecar of it, sb-...:NAME. Raises NotFoundError."""
    from skerry import Sandbox

    sandbox_id, _, name = reference.partition(":")
    if not name:
        return "", sandbox_id
    sandbox = Sandbox.from_id(sandbox_id)
    sidecar = sandbox._experimental_sidecars.get(name=name, include_terminated=True)
    return sandbox._info.app_id, sidecar.object_id


def run_in(
    reference: str | Executing,
    command: Sequence[str],
    *,
    pty: bool,
    workdir: str | None = None,
    user: str | None = None,
) -> int:
    """Run a command in a sandbox with this process's terminal or standard streams. Returns its exit code."""
    place = find(reference) if isinstance(reference, str) else reference
    terminal = os.environ.get("TERM")
    env: dict[str, str | None] = {"TERM": terminal} if pty and terminal else {}
    process = place.exec(*command, pty=pty, env=env, workdir=workdir, user=user, text=False)
    return process.attach()


def image_of(given: str) -> Image:
    """Return an image: by its id, by the name that it was published under, or from a registry."""
    from skerry import Image
    from skerry.exception import InvalidError, NotFoundError

    if given.startswith("im-"):
        return Image.from_id(given)
    if "." not in given.partition("/")[0]:
        try:
            return Image.from_name(given).hydrate()
        except (NotFoundError, InvalidError):
            pass  # none of ours
    return Image.from_registry(given)


def ps(
    sandbox: SandboxArgument,
    everything: Annotated[bool, typer.Option("--all", help="Every process, whoever started it.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the processes of a sandbox."""
    infos = find(sandbox).processes(all=everything)
    if everything:
        columns = ["PID", "Parent", "CPU", "Memory", "Command"]
        rows: list[list[Any]] = [
            [i.pid, i.parent_pid, f"{i.cpu_seconds:.2f} s", f"{i.memory_bytes >> 20} MiB", " ".join(i.args)]
            for i in infos
        ]
    else:
        columns = ["Process", "PID", "State", "Terminal", "Command"]
        rows = [[i.process_id, i.pid, _state(i.returncode), "yes" if i.pty else "no", " ".join(i.args)] for i in infos]
    tables.show(columns, rows, as_json=as_json)


def snapshot(
    sandbox: SandboxArgument,
    memory: Annotated[bool, typer.Option("--memory", help="Keep what runs as well, and print sn-....")] = False,
    directory: Annotated[str | None, typer.Option("--directory", metavar="PATH", help="Only this directory.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that it may take.")] = 55,
) -> None:
    """Keep a sandbox's files as an image, and print its id, im-....

    [bold]Examples[/bold]

    skerry sandbox snapshot sb-...

    skerry sandbox create --image im-...

    skerry sandbox snapshot --memory sb-...

    skerry sandbox restore sn-...
    """
    from skerry import Sandbox

    found = Sandbox.from_id(sandbox)
    if memory and directory:
        raise typer.BadParameter("--memory keeps everything; it can't be combined with --directory")
    if memory:
        print(found._experimental_snapshot(timeout=timeout).object_id)
    elif directory:
        print(found.snapshot_directory(directory, timeout=timeout).object_id)
    else:
        print(found.snapshot_filesystem(timeout).object_id)


def restore(
    snapshot_id: Annotated[str, typer.Argument(metavar="sn-...", help="A snapshot with memory.")],
    name: Annotated[str | None, typer.Option("--name", help="The name of the new sandbox.")] = None,
) -> None:
    """Make a sandbox that goes on from a snapshot with memory, and print its id."""
    from skerry import Sandbox, SandboxSnapshot

    print(Sandbox._experimental_from_snapshot(SandboxSnapshot.from_id(snapshot_id), name=name).object_id)


def fork(
    sandbox: SandboxArgument,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many.")] = 1,
) -> None:
    """Make sandboxes that go on from where one is, memory and all, and print their ids."""
    from skerry import Sandbox

    for made in Sandbox.from_id(sandbox).fork(count):
        print(made.object_id)


def pause(sandbox: SandboxArgument) -> None:
    """Keep a sandbox on its worker's disk and free all else. Whoever uses it next has it run on."""
    from skerry import Sandbox

    Sandbox.from_id(sandbox).pause()
    print(f"Paused {sandbox}.")


def resume(sandbox: SandboxArgument) -> None:
    """Have a paused sandbox run on."""
    from skerry import Sandbox

    Sandbox.from_id(sandbox).resume()
    print(f"Resumed {sandbox}.")


def tunnels(sandbox: SandboxArgument, as_json: AsJson = False) -> None:
    """List how the ports of a sandbox are reached."""
    from skerry import Sandbox

    found = Sandbox.from_id(sandbox).tunnels()
    rows = [[port, tunnel.url if tunnel.host else "", _socket(tunnel)] for port, tunnel in sorted(found.items())]
    tables.show(["Port", "URL", "TCP"], rows, as_json=as_json)


def tunnel(
    sandbox: SandboxArgument,
    port: PortArgument,
    tcp: Annotated[bool, typer.Option("--tcp", help="As it is, not HTTP; prints HOST:PORT.")] = False,
) -> None:
    """Make a port of a sandbox reachable, and print where."""
    from skerry import Sandbox

    made = Sandbox.from_id(sandbox).tunnel(port, kind="unencrypted" if tcp else "encrypted")
    print(_socket(made) if tcp else made.url)


def url(
    sandbox: SandboxArgument,
    port: PortArgument,
    ttl: Annotated[float, typer.Option("--ttl", help="Seconds that it works.")] = 3600,
) -> None:
    """Print a URL that opens one port of a sandbox to whoever has it, for a time."""
    from skerry import Sandbox

    print(Sandbox.from_id(sandbox).signed_url(port, ttl))


def metrics(
    sandbox: SandboxArgument,
    interval: Annotated[float, typer.Option("--interval", help="Seconds between lines.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Only one line.")] = False,
) -> None:
    """Show what a sandbox uses, line by line, until it ends."""
    from skerry import Sandbox

    for m in Sandbox.from_id(sandbox).metrics(interval):
        print(
            f"{m.time:%H:%M:%S}  cpu {m.cpu_seconds:.2f} s  memory {m.memory_bytes / 2**20:.1f} MiB  "
            f"disk {m.disk_bytes / 2**20:.1f} MiB  received {m.network_received_bytes / 2**20:.1f} MiB  "
            f"sent {m.network_sent_bytes / 2**20:.1f} MiB  processes {m.processes}",
            flush=True,
        )
        if once:
            return


def events(sandbox: SandboxArgument) -> None:
    """Show what happens to a sandbox, what has happened already first, until it has ended."""
    from skerry import Sandbox

    for event in Sandbox.from_id(sandbox).events():
        print(f"{event.time:%Y-%m-%d %H:%M:%S}  {event.type}  {event.object_id or ''}".rstrip(), flush=True)


def cp(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A local path, or sb-...:/path.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Likewise; one of both is in a sandbox.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="A folder with all that is in it.")] = False,
) -> None:
    """Copy files into a sandbox or out of it. A target that ends with "/" gets the source's name below it.

    [bold]Examples[/bold]

    skerry sandbox cp data.csv sb-...:/work/

    skerry sandbox cp -r sb-...:/work/out out
    """
    inward = target.startswith("sb-") and ":" in target
    if inward == (source.startswith("sb-") and ":" in source):
        raise typer.BadParameter("one of SRC and DST has to be in a sandbox, sb-...:/path, and the other here")
    reference, _, remote = (target if inward else source).partition(":")
    files: SandboxFilesystem = find(reference).filesystem
    if inward:
        remote = f"{remote}{os.path.basename(os.path.abspath(source))}" if remote.endswith("/") else remote
        _copy_in(files, source, remote, recursive)
    else:
        local = (
            os.path.join(target, os.path.basename(remote)) if target.endswith("/") or os.path.isdir(target) else target
        )
        _copy_out(files, remote, local, recursive)


def _copy_in(files: SandboxFilesystem, local: str, remote: str, recursive: bool) -> None:
    if not os.path.isdir(local):
        files.copy_from_local(local, remote)
        return
    if not recursive:
        raise typer.BadParameter(f"{local} is a folder; say --recursive")
    files.make_directory(remote)
    for entry in sorted(os.scandir(local), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) or entry.is_file():
            _copy_in(files, entry.path, f"{remote.rstrip('/')}/{entry.name}", recursive)


def _copy_out(files: SandboxFilesystem, remote: str, local: str, recursive: bool) -> None:
    info = files.stat(remote)
    if not info.is_dir():
        files.copy_to_local(remote, local)
        return
    if not recursive:
        raise typer.BadParameter(f"{remote} is a directory; say --recursive")
    os.makedirs(local, exist_ok=True)
    for file in files.list_files(remote):
        # What untrusted code has named is a name here, and no path; links may lead anywhere.
        if (file.is_dir() or file.is_file()) and file.name not in ("", ".", "..") and "/" not in file.name:
            _copy_out(files, file.path, os.path.join(local, file.name), recursive)


def _state(returncode: int | None) -> str:
    return "running" if returncode is None else f"ended ({returncode})"


def _socket(tunnel: Any) -> str:
    return f"{tunnel.unencrypted_host}:{tunnel.unencrypted_port}" if tunnel.unencrypted_host else ""


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ps, cp, snapshot, restore, fork, pause, resume, tunnels, tunnel, url, metrics, events):
        cli.command()(command)
