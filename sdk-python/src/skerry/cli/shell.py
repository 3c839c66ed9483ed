"""``skerry shell``."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.container_pb import ExecStart
from skerry._run.attach import attach
from skerry._run.display import current_display
from skerry._runner.hold import hold
from skerry.output import enable_output

from .containers import Pty, wants_pty
from .ending import end_like
from .later import refuse
from .options import AsModule, Environment, ModalNames
from .refs import find_service

if TYPE_CHECKING:
    from skerry._objects.function import Function


def shell(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="A function or class, FILE.py[::NAME] or MODULE[::NAME] with -m, or a running container, ta-...; "
            "without one the options say what the container is like.",
        ),
    ] = None,
    cmd: Annotated[str, typer.Option("--cmd", "-c", help="The command to run in it.")] = "/bin/bash",
    environment: Environment = None,
    image: Annotated[str | None, typer.Option("--image", help="Not available yet.")] = None,
    add_python: Annotated[str | None, typer.Option("--add-python", help="Not available yet.")] = None,
    volume: Annotated[list[str] | None, typer.Option("--volume", metavar="NAME", help="Not available yet.")] = None,
    add_local: Annotated[
        list[str] | None,
        typer.Option("--add-local", metavar="PATH", help="A file or folder to put into /mnt; repeatable."),
    ] = None,
    secret: Annotated[list[str] | None, typer.Option("--secret", metavar="NAME", help="Not available yet.")] = None,
    cpu: Annotated[int | None, typer.Option("--cpu", help="Cores.")] = None,
    memory: Annotated[int | None, typer.Option("--memory", help="MiB.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Not available yet.")] = None,
    cloud: Annotated[str | None, typer.Option("--cloud", help="The cloud that the container is to be in.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="A,B", help="The regions that the container may be in.")
    ] = None,
    pty: Pty = None,
    as_module: AsModule = False,
    _modal_names: ModalNames = False,
) -> None:
    """Open a shell, or run a command, in a container.

    REF's container is new, with the image, files, secrets and resources of the function, whose own code does not run; it ends with the
    command. A running container, ta-..., is entered.

    [bold]Examples[/bold]

    skerry shell my_app.py::train

    skerry shell my_app.py::train --cmd "python -V"

    skerry shell ta-...

    skerry shell --cpu 2 --add-local data.csv
    """
    later = {"image": image, "add-python": add_python, "volume": volume, "secret": secret, "gpu": gpu}
    configured = {**later, "add-local": add_local, "cpu": cpu, "memory": memory, "cloud": cloud, "region": region}
    given = [f"--{option}" for option, value in configured.items() if value]
    if reference is not None and given:
        raise typer.BadParameter(f"{', '.join(given)} can't be combined with a REF, which has all of that itself")
    for option, value in later.items():
        if value:
            refuse(f"shell --{option}")
    if reference is not None and reference.startswith(("sb-", "im-")):
        refuse(f"shell {reference[:3]}...")
    with_terminal = wants_pty(pty)
    if reference is not None and reference.startswith("ta-"):
        start = ExecStart(container_id=reference, argv=shlex.split(cmd))
        end_like(lambda: attach(shared_client(), start, pty=with_terminal))
    if reference is None:
        service = _configured(add_local or [], cpu, memory, cloud, region)
    else:
        service = find_service(reference, as_module=as_module)
    description = " ".join(["shell", *([reference] if reference else [])])[:64]
    end_like(lambda: _in_new_container(service, description, environment, cmd, pty=with_terminal))


def _in_new_container(
    service: Function[..., Any], description: str, environment: str | None, cmd: str, *, pty: bool
) -> int:
    from skerry._run.shell import held_container

    with enable_output(), held_container(service, description, environment) as container_id:
        start = ExecStart(container_id=container_id, argv=["/bin/bash", "-c", cmd])
        with current_display().lent():
            return attach(shared_client(), start, pty=pty)


def _configured(
    add_local: list[str], cpu: int | None, memory: int | None, cloud: str | None, region: str | None
) -> Function[..., Any]:
    """Return a function whose containers are as the options say."""
    from skerry import App, Image

    image = Image.debian_slim()
    for path in add_local:
        if not os.path.exists(path):
            raise typer.BadParameter(f"--add-local {path!r}: there is no such file or folder")
        add = image.add_local_dir if os.path.isdir(path) else image.add_local_file
        image = add(path, f"/mnt/{os.path.basename(os.path.abspath(path))}")
    regions = region.split(",") if region else None
    app = App("shell", image=image, include_source=False)
    return app.function(cpu=cpu, memory=memory, cloud=cloud, region=regions, name="shell")(hold)
