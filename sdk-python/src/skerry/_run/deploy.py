"""Deployments."""

from __future__ import annotations

import logging
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from protobuf.wkt import Timestamp

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
from skerry._gen.skerry.v1.deployment_pb import DeploymentStrategy
from skerry._names import check_name, check_tag
from skerry.config import config

from .display import current_display
from .load import Loader, reserve

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App

logger = logging.getLogger("skerry")

# How long a deployment that failed tries to take back what it has begun.
_STOP_SECONDS = 5.0

STRATEGIES = {"rolling": DeploymentStrategy.ROLLING, "recreate": DeploymentStrategy.RECREATE}


class DeployResult(NamedTuple):
    """What a deployment became."""

    app_id: str
    version: int
    unchanged: bool = False
    """True if nothing differs from the version before, and so none was made."""


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
    if deployment_strategy not in STRATEGIES:
        raise exc.InvalidError(f"strategy {deployment_strategy!r}: want 'rolling' or 'recreate'")
    client = client or shared_client()
    deployment = _Deployment(
        client, app, name, environment_name or config.environment, tag, STRATEGIES[deployment_strategy]
    )
    return deployment.run()


class _Deployment:
    def __init__(
        self, client: Client, app: App, name: str, environment: str, tag: str, strategy: DeploymentStrategy
    ) -> None:
        self._client = client
        self._app = app
        self._name = name
        self._environment = environment
        self._tag = tag
        self._strategy = strategy
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
            self._abandon(app_id)
            raise

    def _abandon(self, app_id: str) -> None:
        """Stop the app, which left behind would be one that never was. What went wrong first is what the user has to see."""
        client = self._client
        for function in self._app._functions.values():
            function._bind(None, None)
        request = StopAppRequest(app=app_id, reason=StopReason.LOCAL_ERROR)
        try:
            client.call(lambda: client.apps.stop_app(request), _STOP_SECONDS)
        except exc.Error as err:
            logger.warning("app %s, which was to be deployed, could not be stopped: %s", app_id, err)

    def _publish(self, app_id: str) -> DeployResult:
        client = self._client
        with self._display.creating():
            reserve(client, self._app, app_id, self._name, self._environment)
            definitions = Loader(client, self._app, app_id, self._display, environment=self._environment).load()
            request = PublishAppRequest(
                app_id=app_id,
                name=self._name,
                environment=self._environment,
                functions=definitions,
                tag=self._tag,
                strategy=self._strategy,
                tags=self._app._tags,
            )
            commit = read_commit()
            if commit is not None:
                request.commit = commit
            response = client.call(lambda: client.apps.publish_app(request))
        self._app._app_id = response.app_id
        for name, function in self._app._functions.items():
            function._bind(client, response.function_ids[name], response.app_id)
        return DeployResult(response.app_id, response.version, response.unchanged)


def read_commit() -> CommitInfo | None:
    """Return the commit of the current folder's work tree, or None outside of one.

    What the server would not take is left out with a warning: who deployed from where is good to know, not worth failing for.
    """
    head = _git("log", "-1", "--format=%H%n%ct%n%an%n%ae")
    if head is None:
        return None
    commit, seconds, author, email = [*head.split("\n"), "", "", ""][:4]
    if len(commit) != 40 or not seconds.isdigit():
        logger.warning("the commit that git names, %.60r, is not recorded: want 40 hex digits and a time", commit)
        return None
    return CommitInfo(
        commit_hash=commit,
        branch=_short("branch", _git("rev-parse", "--abbrev-ref", "HEAD"), 255),
        dirty=bool(_git("status", "--porcelain")),
        author=_short("author", author, 200),
        author_email=_short("author's address", email, 200),
        committed_at=Timestamp(seconds=int(seconds)),
        repo_url=_short("origin", _without_credentials(_git("remote", "get-url", "origin") or ""), 200),
    )


def _short(what: str, text: str | None, most: int) -> str:
    if text and len(text) > most:
        logger.warning("the %s of the commit is not recorded: it has more than %d characters", what, most)
        return ""
    return text or ""


def _without_credentials(url: str) -> str:
    """Return a remote's address without the user and password that it may hold."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607 - the user's own git
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
