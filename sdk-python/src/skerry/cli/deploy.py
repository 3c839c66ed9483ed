"""``skerry deploy``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.log_pb import StreamLogsRequest
from skerry._run.deploy import deploy_app
from skerry._run.display import current_display
from skerry._run.log_reader import LogReader
from skerry.output import enable_output

from .later import refuse
from .options import AsModule, Environment, ModalNames, Strategy, Timestamps, check_strategy
from .output import show_timestamps
from .refs import find_app


def deploy(
    reference: Annotated[str, typer.Argument(metavar="APP_REF", help="FILE.py[::APP], or MODULE[::APP] with -m.")],
    name: Annotated[str | None, typer.Option("--name", help="The name to deploy under; default: the app's.")] = None,
    environment: Environment = None,
    stream_logs: Annotated[bool, typer.Option("--stream-logs", help="Show the app's output until Ctrl-C.")] = False,
    tag: Annotated[str, typer.Option("--tag", help="A label for this deployment, shown by `skerry app history`.")] = "",
    as_module: AsModule = False,
    _modal_names: ModalNames = False,
    timestamps: Timestamps = False,
    strategy: Strategy = "rolling",
    staged: Annotated[bool, typer.Option("--staged", hidden=True)] = False,
) -> None:
    """Deploy an app, so that its functions stay and can be called by name.

    Deploying again makes a new version, if anything has changed; calls that run finish in the old one.

    [bold]Examples[/bold]

    skerry deploy hello.py --tag v1.2.3

    skerry deploy hello.py --strategy recreate --stream-logs
    """
    if staged:
        refuse("deploy --staged")
    check_strategy(strategy)
    began = time.monotonic()
    app = find_app(reference, as_module=as_module)
    with enable_output():
        if timestamps:
            show_timestamps()
        result = deploy_app(app, name, environment_name=environment, tag=tag, deployment_strategy=strategy)
        seconds = time.monotonic() - began
        print(
            "Deployment skipped: no changes detected! ⏭️"
            if result.unchanged
            else f"✓ App deployed in {seconds:.3f}s! 🎉"
        )
        print(f"{name or app.name} is version {result.version} of app {result.app_id}", flush=True)
        if stream_logs:
            request = StreamLogsRequest(app=result.app_id, follow=True)
            for entry in LogReader(shared_client(), request).entries():
                current_display().log_entry(entry)
