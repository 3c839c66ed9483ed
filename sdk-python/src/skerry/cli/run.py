"""``skerry run``."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from skerry.exception import InvalidError
from skerry.output import enable_output

from .options import AsModule, Environment, ModalNames, Timestamps
from .output import show_timestamps
from .refs import find_runnable
from .runnables import call


def run(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="FUNC_REF", help="FILE.py[::NAME], or MODULE[::NAME] with -m.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="What lists show of the run; default: this command.")
    ] = None,
    write_result: Annotated[
        str | None,
        typer.Option("--write-result", "-w", help="Write the function's result, str or bytes, to this file."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress, only what the functions print.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Let the app go on if this command ends or is lost.")
    ] = False,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive", "-i", help="Lend this terminal to functions: skerry.interact() and breakpoint()."
        ),
    ] = False,
    environment: Environment = None,
    as_module: AsModule = False,
    _modal_names: ModalNames = False,
    timestamps: Timestamps = False,
) -> None:
    """Run a function, or a local entrypoint, of an app.

    The app lives as long as the command. NAME is a function, a local entrypoint or a method such as Model.predict; without one the local
    entrypoint is run, or else the only function. What follows FUNC_REF goes to it as options made from its parameters, for a method those
    of its class as well: see [bold]skerry run FUNC_REF --help[/bold]. Ctrl-C stops the app.

    [bold]Examples[/bold]

    skerry run hello.py

    skerry run hello.py::square --x 12

    skerry run models.py::Model.predict --size 3 --text hello

    skerry run -m my_package.jobs --n 100
    """
    if quiet and interactive:
        raise typer.BadParameter("--quiet and --interactive exclude each other")
    if reference.startswith("-"):
        raise typer.BadParameter(f"no such option: {reference}")
    if write_result is not None:
        _check_folder(write_result)
    target = find_runnable(reference, as_module=as_module)
    module = "-m " if as_module else ""
    run_target = call(target, list(context.args), prog_name=f"skerry run {module}{reference}")
    if run_target is None:
        return
    description = name or " ".join([f"{module}{reference}", *context.args])[:64]
    result: Any = None
    with enable_output(show_progress=not quiet):
        if timestamps:
            show_timestamps()
        running = target.app.run(name=description, detach=detach, interactive=interactive, environment_name=environment)
        with running:
            result = run_target(detach)
    if running.interrupted:
        raise typer.Exit(130)
    if write_result is not None:
        _write(write_result, result)


def _check_folder(path: str) -> None:
    """Say before the function runs, and not after, that its result can't be written."""
    folder = os.path.dirname(os.path.abspath(os.path.expanduser(path)))
    if not os.path.isdir(folder):
        raise typer.BadParameter(f"--write-result {path!r}: there is no folder {folder!r}")


def _write(path: str, result: object) -> None:
    if not isinstance(result, (str, bytes)):
        raise InvalidError(
            f"--write-result: the function returned {type(result).__name__}; only str and bytes can be written"
        )
    data = result.encode() if isinstance(result, str) else result
    with open(os.path.expanduser(path), "wb") as file:
        file.write(data)
