"""Deployments."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from skerry import exception as exc
from skerry._client.client import shared_client
from skerry._gen.skerry.v1.app_pb import (
    AppState,
    CommitInfo,
    CreateAppRequest,
    PublishAppRequest,
    StopAppRequest,
    StopReason,
)
from skerry._names import check_name, check_tag
from skerry.config import config

from .display import current_display
from .load import Loader

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App


class DeployResult(NamedTuple):
    """What a deployment became."""

    app_id: str
    version: int


def deploy_app(
    app: App,
    name: str | None = None,
    *,
    environment_name: str | None = None,
    tag: str = "",
    deployment_strategy: str = "rolling",
    client: Client | None = None,
) -> DeployResult:
    """Deploy an app under its name or another. Arguments are as in :meth:`App.deploy`."""
    name = name or app.name
    if name is None:
        raise exc.InvalidError(
            "the app has no name to be deployed under: use skerry.App('name') or deploy(name='name')"
        )
    check_name("app", name)
    check_tag(tag)
    if deployment_strategy == "recreate":
        raise exc.UnimplementedError("deploy(strategy='recreate') is not available in this version of skerry yet")
    if deployment_strategy != "rolling":
        raise exc.InvalidError(f"strategy {deployment_strategy!r}: want 'rolling'")
    client = client or shared_client()
    deployment = _Deployment(client, app, name, environment_name or config.environment, tag)
    return deployment.run()


class _Deployment:
    def __init__(self, client: Client, app: App, name: str, environment: str, tag: str) -> None:
        self._client = client
        self._app = app
        self._name = name
        self._environment = environment
        self._tag = tag
        self._display = current_display()

    def run(self) -> DeployResult:
        client = self._client
        create = CreateAppRequest(
            description=self._name, state=AppState.INITIALIZING, environment=self._environment, tags=self._app._tags
        )
        # Publishing under a name that a deployed app has moves everything over to that one.
        app_id = client.call(lambda: client.apps.create_app(create)).app_id
        self._display.initialized("")
        try:
            return self._publish(app_id)
        except BaseException:
            # Left behind, it would be an app that never was.
            request = StopAppRequest(app=app_id, reason=StopReason.LOCAL_ERROR)
            client.call(lambda: client.apps.stop_app(request))
            raise

    def _publish(self, app_id: str) -> DeployResult:
        client = self._client
        with self._display.creating():
            definitions = Loader(client, self._app, app_id, self._display).load()
            request = PublishAppRequest(
                app_id=app_id, name=self._name, environment=self._environment, functions=definitions, tag=self._tag
            )
            commit = read_commit()
            if commit is not None:
                request.commit = commit
            response = client.call(lambda: client.apps.publish_app(request))
        self._app._app_id = response.app_id
        for name, function in self._app._functions.items():
            function._bind(client, response.function_ids[name])
        return DeployResult(response.app_id, response.version)


def read_commit() -> CommitInfo | None:
    """Return the commit of the current folder's work tree, or None outside of one."""
    head = _git("log", "-1", "--format=%H%n%an")
    if head is None:
        return None
    commit, _, author = head.partition("\n")
    branch = _git("rev-parse", "--abbrev-ref", "HEAD") or ""
    return CommitInfo(
        commit_hash=commit, branch=branch[:255], dirty=bool(_git("status", "--porcelain")), author=author[:200]
    )


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607 - the user's own git
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
