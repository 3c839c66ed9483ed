"""What may change: functions for code in containers, and for lists of what is deployed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skerry._client.client import Client

__all__ = [
    "get_app_lifecycle",
    "get_app_objects",
    "get_local_input_concurrency",
    "image_delete",
    "list_deployed_apps",
    "set_local_input_concurrency",
    "stop_app",
    "stop_fetching_inputs",
]

_LATER = frozenset(
    {
        "clustered",
        "flash_forward",
        "flash_get_containers",
        "flash_prometheus_autoscaler",
        "get_cluster_info",
        "get_fabric_peers",
        "http_server",
    }
)


def stop_fetching_inputs() -> None:
    """Have this container finish the inputs that it has, and end. Raises RuntimeError outside a container."""
    from skerry._runner.control import stop_fetching_inputs

    stop_fetching_inputs()


def get_local_input_concurrency() -> int:
    """Return how many inputs this container takes at a time. Raises RuntimeError outside a container."""
    from skerry._runner.control import get_local_input_concurrency

    return get_local_input_concurrency()


def set_local_input_concurrency(concurrency: int) -> None:
    """Take so many inputs at a time in this container from now on, at most ``max_inputs`` of ``@skerry.concurrent``.

    Raises RuntimeError outside a container, ValueError below 1.
    """
    from skerry._runner.control import set_local_input_concurrency

    set_local_input_concurrency(concurrency)


def list_deployed_apps(environment_name: str = "", client: Client | None = None) -> list[Any]:
    """Return the deployed apps of an environment as ``skerry.types.AppInfo``, newest first."""
    from skerry._client.client import shared_client
    from skerry._gen.skerry.v1.app_pb import AppState, ListAppsRequest
    from skerry.config import config
    from skerry.types import AppInfo

    known = client or shared_client()
    request = ListAppsRequest(environment=environment_name or config.environment)
    apps = known.call(lambda: known.apps.list_apps(request)).apps
    return [AppInfo(a.app_id, a.description, a.num_containers) for a in apps if a.state == AppState.DEPLOYED]


def get_app_lifecycle(app_id: str, *, client: Client | None = None) -> Any:
    """Return where an app is in its life, as ``skerry.types.AppLifecycle``. Raises NotFoundError."""
    from skerry._client.client import shared_client
    from skerry._gen.skerry.v1.app_pb import GetAppRequest
    from skerry.types import AppLifecycle

    known = client or shared_client()
    app = known.call(lambda: known.apps.get_app(GetAppRequest(app=app_id))).app
    assert app is not None  # noqa: S101 - the server always says it
    created, stopped = app.created_at, app.stopped_at
    return AppLifecycle(
        app.app_id,
        app.state.name.lower(),
        created.to_datetime() if created is not None else None,
        stopped.to_datetime() if stopped is not None else None,
    )


def stop_app(name: str, *, environment_name: str | None = None, client: Client | None = None) -> None:
    """Stop a deployed app; its inputs that wait or run are cancelled. Raises NotFoundError."""
    from skerry._client.client import shared_client
    from skerry._gen.skerry.v1.app_pb import StopAppRequest, StopReason
    from skerry.config import config

    known = client or shared_client()
    request = StopAppRequest(app=name, environment=environment_name or config.environment, reason=StopReason.REQUESTED)
    known.call(lambda: known.apps.stop_app(request))


def image_delete(image_id: str, *, client: Client | None = None) -> None:
    """Delete an image and its log. Raises NotFoundError, and ConflictError where an app or a name uses it."""
    from skerry._client.client import shared_client
    from skerry._gen.skerry.v1.image_pb import DeleteImageRequest

    known = client or shared_client()
    known.call(lambda: known.images.delete_image(DeleteImageRequest(image_id=image_id)))


def get_app_objects(
    app_name: str, *, environment_name: str | None = None, client: Client | None = None
) -> dict[str, Any]:
    """Return the functions and classes of a deployed app by name. Raises NotFoundError."""
    from skerry._client.client import shared_client
    from skerry._gen.skerry.v1.app_pb import GetAppRequest
    from skerry._objects.cls import Cls
    from skerry._objects.function import Function
    from skerry.config import config

    known = client or shared_client()
    request = GetAppRequest(app=app_name, environment=environment_name or config.environment)
    found: dict[str, Any] = {}
    for function in known.call(lambda: known.apps.get_app(request)).functions:
        kind: Any = Cls if function.is_class else Function
        found[function.name] = kind.from_name(app_name, function.name, environment_name=environment_name, client=client)
    return found


def __getattr__(name: str) -> object:
    if name in _LATER:
        from skerry._later import later

        return later(f"experimental.{name}")
    raise AttributeError(f"module 'skerry.experimental' has no attribute {name!r}")
