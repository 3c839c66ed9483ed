"""``skerry serve``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from skerry._run.display import current_display
from skerry.config import config
from skerry.output import enable_output

from .options import AsModule, Environment, ModalNames, Timestamps
from .output import show_timestamps
from .refs import find_app


def serve(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="APP_REF", help="FILE.py[::APP], or MODULE[::APP] with -m.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="What lists show of the app; default: its name.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Stop after so long; default: the setting serve_timeout."),
    ] = None,
    environment: Environment = None,
    as_module: AsModule = False,
    _modal_names: ModalNames = False,
    timestamps: Timestamps = False,
    update: Annotated[str | None, typer.Option(hidden=True, help="Give this running app the functions.")] = None,
    report: Annotated[int | None, typer.Option(hidden=True, help="Write the files to watch to this pipe.")] = None,
) -> None:
    """Run an app until Ctrl-C, and load it again when its files change.

    A change that can't be loaded leaves the version before it running.

    [bold]Examples[/bold]

    skerry serve my_app.py
    """
    from skerry._run.serving import Server, reload_command, report_paths, update_app

    began = time.time_ns()
    app = find_app(reference, as_module=as_module)
    with enable_output():
        if update is not None:
            paths = update_app(app, update, environment)
            if report is not None:
                report_paths(report, paths)
            return
        if timestamps:
            show_timestamps()
        running = app.run(name=name, environment_name=environment)
        with running:
            current_display().note("⚡️ Serving... hit Ctrl-C to stop!")
            server = Server(reload_command(context.obj, str(app.app_id)), running.paths, began)
            try:
                server.run(timeout or config.seconds("serve_timeout") or None)
            except KeyboardInterrupt:
                current_display().note("Stopping...")
