"""``skerry run``."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Annotated, Any

import typer

from skerry._objects.entrypoint import LocalEntrypoint
from skerry.exception import InvalidError
from skerry.output import enable_output

from .parameters import parse
from .refs import Target, find_runnable


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
    environment: Annotated[
        str | None, typer.Option("--env", "-e", help="The environment; default: the configured one.")
    ] = None,
    as_module: Annotated[bool, typer.Option("-m", help="FUNC_REF is a module, as for python -m.")] = False,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Show when each line of output was written.")
    ] = False,
) -> None:
    """Run a function, or a local entrypoint, of an app.

    The app lives as long as the command. Without a NAME the local entrypoint is run, or else the only function. What follows FUNC_REF
    goes to it as options made from its parameters: see [bold]skerry run FUNC_REF --help[/bold]. Ctrl-C stops the app.

    [bold]Examples[/bold]

    skerry run hello.py

    skerry run hello.py::square --x 12

    skerry run -m my_package.jobs --n 100
    """
    target = find_runnable(reference, as_module=as_module)
    raw = target.runnable.get_raw_f()
    parsed = parse(raw, list(context.args), prog_name=f"skerry run {'-m ' if as_module else ''}{reference}")
    if parsed is None:
        return
    description = name or " ".join([*(["-m"] if as_module else []), reference, *context.args])[:64]
    result: Any = None
    with enable_output(show_progress=not quiet):
        if timestamps:
            _show_timestamps()
        running = target.app.run(name=description, detach=detach, environment_name=environment)
        with running:
            result = _call(target, *parsed, detach=detach)
    if running.interrupted:
        raise typer.Exit(130)
    if write_result is not None:
        _write(write_result, result)


def _call(target: Target, args: tuple[Any, ...], kwargs: dict[str, Any], *, detach: bool) -> Any:
    runnable = target.runnable
    if isinstance(runnable, LocalEntrypoint):
        result = runnable.get_raw_f()(*args, **kwargs)
        return asyncio.run(result) if inspect.iscoroutine(result) else result
    if detach:
        return runnable.spawn(*args, **kwargs).get()
    return runnable.remote(*args, **kwargs)


def _show_timestamps() -> None:
    from skerry._run.display import current_display
    from skerry._run.terminal import TerminalDisplay

    display = current_display()
    if isinstance(display, TerminalDisplay):
        display.timestamps = True


def _write(path: str, result: object) -> None:
    if not isinstance(result, (str, bytes)):
        raise InvalidError(
            f"--write-result: the function returned {type(result).__name__}; only str and bytes can be written"
        )
    data = result.encode() if isinstance(result, str) else result
    with open(os.path.expanduser(path), "wb") as file:
        file.write(data)
