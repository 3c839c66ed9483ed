"""The life of an app: how it is run, deployed and found again."""

from __future__ import annotations

from skerry._context import of_this_container, started
from skerry._names import check_labels
from skerry._twin import static_twin, twin
from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from skerry._client.client import Client
    from skerry._run.app_run import AppRun

    from .app import App
    from .logs import AppLogsManager


class Living:
    """The part of an :class:`App` that concerns its life on the server."""

    def __init__(self, name: str | None, tags: dict[str, str]) -> None:
        self._name = name
        self._tags: dict[str, str] = tags
        self._description: str | None = None
        self._app_id: str | None = None
        self._running = False

    def run(
        self,
        *,
        name: str | None = None,
        client: Client | None = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AppRun:
        """Run the app while a ``with`` (or ``async with``) block lasts; its functions can be called in it.

        Images are built and local code is sent first. At the end of the block the app is stopped.

        Args:
            name: what lists show; default: the app's name.
            client: default: the process's own.
            detach: leave the app running until its calls have ended.
            interactive: lend the terminal to ``skerry.interact()`` and ``breakpoint()`` in containers; needs output to be enabled.
            environment_name: default: the configured one.

        Raises InvalidError in a container's global scope or if the app runs already, ImageBuildError, ConnectionError, AuthError.
        """
        from skerry._run.app_run import AppRun

        app: Any = self
        return AppRun(
            app,
            client=client,
            description=name,
            detach=detach,
            interactive=interactive,
            environment=environment_name,
        )

    @twin
    def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: Client | None = None,
        strategy: str = "rolling",
    ) -> Self:
        """Deploy the app under a name, so that it stays: a new version, whose old containers finish their inputs.

        Args:
            name: default: the app's name; InvalidError if it has none.
            environment_name: default: the configured one.
            tag: free label of this deployment.
            client: default: the process's own.
            strategy: "rolling": containers of the version before finish their inputs; "recreate": they are stopped, and their inputs
                run again in new ones.
        """
        from skerry._run.deploy import deploy_app

        app: Any = self
        deploy_app(app, name, environment_name=environment_name, tag=tag, deployment_strategy=strategy, client=client)
        return self

    @static_twin
    @staticmethod
    def lookup(
        name: str,
        *,
        client: Client | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:
        """Return a handle of a deployed app; with ``create_if_missing`` an empty one is deployed. Raises NotFoundError."""
        from skerry._client.client import shared_client
        from skerry._gen.skerry.v1.app_pb import LookupAppRequest
        from skerry.config import config

        from .app import App

        app = App(name)
        known = client or shared_client()
        request = LookupAppRequest(
            name=name, environment=environment_name or config.environment, create_if_missing=create_if_missing
        )
        app._app_id = known.call(lambda: known.apps.lookup_app(request)).app_id
        return app

    @twin
    def set_tags(self, tags: dict[str, str], *, client: Client | None = None) -> None:
        """Replace the tags of the running or deployed app. Raises InvalidError if it is neither, or for bad tags."""
        from skerry._client.client import shared_client
        from skerry._gen.skerry.v1.app_pb import SetAppTagsRequest

        known = client or shared_client()
        request = SetAppTagsRequest(app_id=self._living("set_tags"), tags=check_labels("app", tags))
        known.call(lambda: known.apps.set_app_tags(request))

    @twin
    def get_tags(self, *, client: Client | None = None) -> dict[str, str]:
        """Return the tags of the running or deployed app. Raises InvalidError if it is neither."""
        from skerry._client.client import shared_client
        from skerry._gen.skerry.v1.app_pb import GetAppRequest

        known = client or shared_client()
        request = GetAppRequest(app=self._living("get_tags"))
        return dict(known.call(lambda: known.apps.get_app(request)).tags)

    def _living(self, what: str) -> str:
        app_id = self.app_id
        if not app_id:
            raise InvalidError(f"app.{what}() needs an app that runs or is deployed")
        return app_id

    # Properties.

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """The id, "ap-...", while the app runs or once it was deployed, also in its containers; else None."""
        app: Any = self
        return self._app_id or (started().get("app_id") if of_this_container([app]) else None)

    @property
    def description(self) -> str | None:
        """What lists show."""
        return self._description or self._name

    def set_description(self, description: str) -> None:
        """Change what lists show of later runs."""
        self._description = description

    @property
    def logs(self) -> AppLogsManager:
        """What the app's containers wrote. Raises InvalidError before it runs."""
        from .logs import AppLogsManager

        app: Any = self
        return AppLogsManager(app)
