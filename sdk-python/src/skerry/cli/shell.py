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
from skerry.output import enable_output

from .containers import Pty, wants_pty
from .ending import end_like
from .later import refuse
from .options import AsModule, Environment, ModalNames
from .refs import find_service
from .sandbox_use import image_of, run_in

if TYPE_CHECKING:
    from skerry import Image
    from skerry._objects.function import Function

_LONGEST_SECONDS = 24 * 3600
_INTERRUPTED = 130


def shell(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="A function or class, FILE.py[::NAME] or MODULE[::NAME] with -m; a running container, ta-..., or sandbox, "
            "sb-...[:SIDECAR]; or an image, im-.... Without one the options say what a new sandbox is like.",
        ),
    ] = None,
    cmd: Annotated[str, typer.Option("--cmd", "-c", help="The command to run in it.")] = "/bin/bash",
    environment: Environment = None,
    image: Annotated[
        str | None, typer.Option("--image", help="An image: im-..., its name, or a registry's, such as python:3.12.")
    ] = None,
    add_python: Annotated[
        str | None, typer.Option("--add-python", metavar="3.12", help="Add this Python to a registry's image.")
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option("--volume", metavar="NAME", help="A volume to mount at /mnt/NAME; repeatable.")
    ] = None,
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
    """Open a shell, or run a command, in a container or a sandbox.

    A function's container is new, with its image, files, secrets and resources; its own code does not run. So is the sandbox of an
    image, or of the options alone. It ends with the command. A running container, ta-..., or sandbox, sb-..., is entered.

    [bold]Examples[/bold]

    skerry shell my_app.py::train

    skerry shell my_app.py::train --cmd "python -V"

    skerry shell ta-...

    skerry shell sb-...

    skerry shell im-... --cmd "pip list"

    skerry shell --cpu 2 --add-local data.csv
    """
    later = {"secret": secret, "gpu": gpu}
    configured = {
        **later,
        "volume": volume,
        "image": image,
        "add-python": add_python,
        "add-local": add_local,
        "cpu": cpu,
        "memory": memory,
        "cloud": cloud,
        "region": region,
    }
    given = [f"--{option}" for option, value in configured.items() if value]
    if reference is not None and given:
        raise typer.BadParameter(f"{', '.join(given)} can't be combined with a REF, which has all of that itself")
    for option, value in later.items():
        if value:
            refuse(f"shell --{option}")
    with_terminal = wants_pty(pty)
    if reference is not None and reference.startswith("sb-"):
        end_like(lambda: run_in(reference, shlex.split(cmd), pty=with_terminal))
    if reference is not None and reference.startswith("ta-"):
        start = ExecStart(container_id=reference, argv=shlex.split(cmd))
        end_like(lambda: attach(shared_client(), start, pty=with_terminal))
    description = " ".join(["shell", *([reference] if reference else [])])[:64]
    if reference is None or reference.startswith("im-"):
        base = _base(reference or image, add_python)
        options: dict[str, Any] = {
            "cpu": cpu,
            "memory": memory,
            "cloud": cloud,
            "region": region.split(",") if region else None,
        }
        options["volumes"] = _volumes(volume or [], environment)
        end_like(
            lambda: _in_new_sandbox(
                _with_files(base, add_local or []), description, environment, cmd, options, pty=with_terminal
            )
        )
    service = find_service(reference, as_module=as_module)
    end_like(lambda: _in_new_container(service, description, environment, cmd, pty=with_terminal))


def _in_new_container(
    service: Function[..., Any], description: str, environment: str | None, cmd: str, *, pty: bool
) -> int:
    from skerry._run.shell import held_container

    with enable_output(), held_container(service, description, environment) as container_id:
        start = ExecStart(container_id=container_id, argv=["/bin/bash", "-c", cmd])
        with current_display().lent():
            return attach(shared_client(), start, pty=pty)


def _in_new_sandbox(
    image: Image, description: str, environment: str | None, cmd: str, options: dict[str, Any], *, pty: bool
) -> int:
    import skerry

    app = skerry.App(include_source=False)
    code = _INTERRUPTED
    with (
        enable_output(),
        app.run(name=description, environment_name=environment),
    ):
        sandbox = skerry.Sandbox.create(app=app, image=image, timeout=_LONGEST_SECONDS, **options)
        try:
            with current_display().lent():
                code = run_in(sandbox, ["/bin/bash", "-c", cmd], pty=pty)
        finally:
            sandbox.terminate()
    return code


def _volumes(names: list[str], environment: str | None) -> dict[str, Any]:
    from skerry import Volume

    return {f"/mnt/{name}": Volume.from_name(name, environment_name=environment) for name in names}


def _base(given: str | None, add_python: str | None) -> Image:
    from skerry import Image

    if add_python is None:
        return Image.debian_slim() if given is None else image_of(given)
    if given is None or given.startswith("im-"):
        raise typer.BadParameter("--add-python is for --image of a registry")
    return Image.from_registry(given, add_python=add_python)


def _with_files(image: Image, paths: list[str]) -> Image:
    for path in paths:
        if not os.path.exists(path):
            raise typer.BadParameter(f"--add-local {path!r}: there is no such file or folder")
        add = image.add_local_dir if os.path.isdir(path) else image.add_local_file
        image = add(path, f"/mnt/{os.path.basename(os.path.abspath(path))}")
    return image
