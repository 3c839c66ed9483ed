"""``skerry sandbox``: make, list and end sandboxes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from skerry.exception import InvalidError

from . import sandbox_use, tables
from .ending import end_like
from .logs import Follow, Search, Since, Source, Tail, Until, logs_request, show_logs
from .options import AsJson, Environment, Timestamps, Yes, environment_of

cli = typer.Typer(help="Make, enter, copy and end sandboxes.", no_args_is_help=True)

SandboxArgument = sandbox_use.SandboxArgument
_COMMAND = {"allow_interspersed_args": False, "ignore_unknown_options": True}

Name = Annotated[str | None, typer.Option("--name", help="Its name, unique among the running ones of the app.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; repeatable.")]
Owner = Annotated[str | None, typer.Option("--owner", help="Who it belongs to, for `skerry sandbox prune`.")]
AppName = Annotated[str, typer.Option("--app", help="The name of its app, which is made if it is missing.")]


@cli.command(context_settings=_COMMAND)
def create(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="CMD", help="Its command; default: it waits until it is ended.")
    ] = None,
    app: AppName = "sandboxes",
    image: Annotated[
        str | None, typer.Option("--image", help="An image: im-..., its name, or a registry's, such as python:3.12.")
    ] = None,
    name: Name = None,
    tag: Tags = None,
    env: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A variable; repeatable.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that it lives at most.")] = 3600,
    idle_timeout: Annotated[
        float | None, typer.Option("--idle-timeout", help="Seconds that it lives without anybody using it.")
    ] = None,
    pause_when_idle: Annotated[
        bool, typer.Option("--pause-when-idle", help="Then pause it instead of ending it.")
    ] = False,
    workdir: Annotated[str | None, typer.Option("--workdir", help="Where its command runs.")] = None,
    cpu: Annotated[float | None, typer.Option("--cpu", help="Cores.")] = None,
    memory: Annotated[int | None, typer.Option("--memory", help="MiB.")] = None,
    port: Annotated[list[int] | None, typer.Option("--port", help="A port to be reached at; repeatable.")] = None,
    block_network: Annotated[bool, typer.Option("--block-network", help="Give it no network.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="CIDR|DOMAIN", help="All that it may connect to; repeatable."),
    ] = None,
    owner: Owner = None,
    environment: Environment = None,
) -> None:
    """Make a sandbox and print its id.

    It goes on without this terminal, until its command or its timeout ends it, or `skerry sandbox terminate`.

    [bold]Examples[/bold]

    skerry sandbox create

    skerry sandbox create --name web --port 8000 -- python -m http.server 8000

    skerry sandbox create --image im-... --timeout 86400 --idle-timeout 600 --pause-when-idle
    """
    import skerry

    domains = [entry for entry in allow or [] if not _is_range(entry)]
    ranges = [entry for entry in allow or [] if _is_range(entry)]
    with skerry.enable_output():
        sandbox = skerry.Sandbox.create(
            *(command or ()),
            app=skerry.App.lookup(app, create_if_missing=True, environment_name=environment_of(environment)),
            image=None if image is None else sandbox_use.image_of(image),
            name=name,
            tags=_pairs("--tag", tag),
            env=dict(_pairs("--set", env)),
            timeout=timeout,
            idle_timeout=idle_timeout,
            on_idle="pause" if pause_when_idle else "terminate",
            workdir=workdir,
            cpu=cpu,
            memory=memory,
            encrypted_ports=port or (),
            block_network=block_network,
            outbound_cidr_allowlist=ranges if allow else None,
            outbound_domain_allowlist=domains or None,
            owner=owner,
        )
    print(sandbox.object_id)


@cli.command("list")
def list_sandboxes(
    app_id: Annotated[str | None, typer.Option("--app-id", metavar="ap-...", help="Only those of this app.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only with it; repeatable.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only those of this owner.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that ended within the last 7 days.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List running sandboxes, newest first."""
    from skerry import Sandbox
    from skerry._sandbox.values import sandbox_info

    found = Sandbox.list(
        app_id=app_id,
        tags=_pairs("--tag", tag),
        owner=owner,
        include_ended=everything,
        environment_name=environment_of(environment),
    )
    _show([sandbox_info(sandbox._info) for sandbox in found], as_json=as_json)


@cli.command()
def info(sandbox: SandboxArgument) -> None:
    """Show what is known of a sandbox, as JSON."""
    import dataclasses
    import json

    from skerry import Sandbox

    print(json.dumps(dataclasses.asdict(Sandbox.from_id(sandbox).info()), indent=2, default=str))


@cli.command()
def logs(
    sandbox: Annotated[str, typer.Argument(metavar="sb-...[:SIDECAR]", help="The sandbox, or a sidecar of it.")],
    following: Follow = False,
    everything: Annotated[bool, typer.Option("--all", help="All of it, not only the last 100 entries.")] = False,
    since: Since = None,
    until: Until = None,
    tail: Tail = None,
    search: Search = "",
    source: Source = None,
    timestamps: Timestamps = False,
) -> None:
    """Show what a sandbox's own command has printed; what processes of `exec` print goes to who started them."""
    from skerry._run.terminal import TerminalDisplay

    request = logs_request(
        following=following, since=since, until=until, tail=tail, search=search, source=source, everything=everything
    )
    request.app, request.container_id = sandbox_use.whose_output(sandbox)
    show_logs(request, TerminalDisplay(timestamps=timestamps))


@cli.command()
def terminate(
    sandboxes: Annotated[list[str], typer.Argument(metavar="sb-...", help="Ids of sandboxes.")],
    yes: Yes = False,
) -> None:
    """End sandboxes."""
    from skerry import Sandbox

    if not yes:
        tables.confirm(f"End {', '.join(sandboxes)}?")
    for sandbox in sandboxes:
        Sandbox.from_id(sandbox).terminate()
        print(f"Ended {sandbox}.")


@cli.command()
def prune(
    owner: Annotated[str | None, typer.Option("--owner", help="Only those of this owner.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only with it; repeatable.")
    ] = None,
    app_id: Annotated[str | None, typer.Option("--app-id", metavar="ap-...", help="Only those of this app.")] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", help="Only those that are so many seconds old.")
    ] = None,
    idle_for: Annotated[float | None, typer.Option("--idle-for", help="Only those unused for so many seconds.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whosoever they are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which.")] = False,
    environment: Environment = None,
    yes: Yes = False,
) -> None:
    """End sandboxes that nobody needs any more.

    [bold]Examples[/bold]

    skerry sandbox prune --owner nightly-run --yes

    skerry sandbox prune --all --idle-for 3600 --dry-run
    """
    from skerry import Sandbox

    def ask(*, dry: bool) -> Any:
        return Sandbox.prune(
            owner=owner,
            tags=_pairs("--tag", tag),
            app_id=app_id,
            older_than=older_than,
            idle_for=idle_for,
            all=everything,
            dry_run=dry,
            environment_name=environment_of(environment),
        )

    if not (owner or tag or app_id or everything):
        raise typer.BadParameter("want --owner, --tag or --app-id; --all is for all sandboxes")
    if dry_run:
        _show(ask(dry=True), as_json=False)
        return
    if not yes:
        _show(ask(dry=True), as_json=False)
        tables.confirm("End these sandboxes?")
    print(f"Ended {len(ask(dry=False))} sandboxes.")


@cli.command("exec", context_settings=_COMMAND)
def execute(
    sandbox: Annotated[str, typer.Argument(metavar="sb-...[:SIDECAR]", help="The sandbox, or a sidecar of it.")],
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="The program and its arguments.")],
    pty: Annotated[
        bool | None, typer.Option("--pty/--no-pty", help="Give it a terminal; default: if this is one.")
    ] = None,
    workdir: Annotated[str | None, typer.Option("--workdir", help="Where it runs.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Who it runs as; default: root.")] = None,
) -> None:
    """Run a command in a sandbox, with this terminal or these standard streams, and exit with its exit code.

    [bold]Examples[/bold]

    skerry sandbox exec sb-... bash

    skerry sandbox exec sb-... -- tar cz /work > work.tar.gz
    """
    command = command[1:] if command[0] == "--" else command
    with_terminal = sys.stdin.isatty() and sys.stdout.isatty() if pty is None else pty
    end_like(lambda: sandbox_use.run_in(sandbox, command, pty=with_terminal, workdir=workdir, user=user))


sandbox_use.add_to(cli)


def _show(infos: Any, *, as_json: bool) -> None:
    columns = ["Sandbox ID", "Name", "State", "App ID", "Image ID", "Owner", "Tags", "Created at"]
    rows = [
        [
            info.sandbox_id,
            info.name,
            info.state if info.returncode is None else f"{info.state} ({info.returncode})",
            info.app_id,
            info.image_id,
            info.owner,
            info.tags if as_json else ", ".join(f"{key}={value}" for key, value in sorted(info.tags.items())),
            None if info.created_at is None else info.created_at.astimezone().isoformat(" ", "seconds"),
        ]
        for info in infos
    ]
    tables.show(columns, rows, as_json=as_json)


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option} {pair!r}: want KEY=VALUE")
        pairs[key] = value
    return pairs


def _is_range(entry: str) -> bool:
    from skerry._sandbox.network import check_cidr

    try:
        check_cidr("--allow", entry)
    except InvalidError:
        return False
    return True
