"""``skerry deploy``."""

from __future__ import annotations

import threading
import time
from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.log_pb import StreamLogsRequest
from skerry._run.deploy import deploy_app
from skerry._run.display import current_display
from skerry._run.logs import follow
from skerry.output import enable_output

from .refs import find_app


def deploy(
    reference: Annotated[str, typer.Argument(metavar="APP_REF", help="FILE.py[::APP], or MODULE[::APP] with -m.")],
    name: Annotated[str | None, typer.Option("--name", help="The name to deploy under; default: the app's.")] = None,
    environment: Annotated[
        str | None, typer.Option("--env", "-e", help="The environment; default: the configured one.")
    ] = None,
    stream_logs: Annotated[bool, typer.Option("--stream-logs", help="Show the app's output until Ctrl-C.")] = False,
    tag: Annotated[str, typer.Option("--tag", help="A label for this deployment, shown by `skerry app history`.")] = "",
    as_module: Annotated[bool, typer.Option("-m", help="APP_REF is a module, as for python -m.")] = False,
    strategy: Annotated[
        str, typer.Option("--strategy", help="rolling: old containers finish their inputs.")
    ] = "rolling",
) -> None:
    """Deploy an app, so that its functions stay and can be called by name.

    Deploying again makes a new version; calls that run finish in the old one.

    [bold]Example[/bold]

    skerry deploy hello.py --tag v1.2.3
    """
    began = time.monotonic()
    app = find_app(reference, as_module=as_module)
    with enable_output():
        result = deploy_app(app, name, environment_name=environment, tag=tag, deployment_strategy=strategy)
        print(
            f"✓ App deployed in {time.monotonic() - began:.3f}s! 🎉 ({name or app.name} version {result.version}, {result.app_id})"
        )
        if stream_logs:
            for entry in follow(shared_client(), StreamLogsRequest(app=result.app_id, follow=True), threading.Event()):
                current_display().log_entry(entry)
