"""Run and deploy apps from programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._run.deploy import DeployResult, deploy_app

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App
    from skerry._run.app_run import AppRun

__all__ = ["DeployResult", "deploy_app", "run_app"]


def run_app(
    app: App,
    *,
    client: Client | None = None,
    detach: bool = False,
    environment_name: str | None = None,
    interactive: bool = False,
) -> AppRun:
    """Run an app while a ``with`` (or ``async with``) block lasts. Arguments are as in :meth:`App.run`."""
    return app.run(client=client, detach=detach, environment_name=environment_name, interactive=interactive)
