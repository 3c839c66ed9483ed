"""An app with one container that does nothing, for somebody who wants a shell in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from protobuf.wkt import Duration

from skerry import exception as exc
from skerry._client.client import shared_client
from skerry._client.single import remote
from skerry._gen.skerry.v1.container_pb import ListContainersRequest
from skerry._gen.skerry.v1.function_pb import Autoscaler
from skerry._objects.app import App

from .app_run import AppRun
from .load import Loader

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from skerry._gen.skerry.v1.function_pb import FunctionDefinition
    from skerry._objects.function import Function

_LONGEST_SECONDS = 24 * 3600


@contextmanager
def held_container(
    service: Function[..., Any], description: str, environment: str | None
) -> Generator[str, None, None]:
    """Run a container as a function has them, with its image, files, secrets and resources, and yield the container's id.

    The function's own code does not run in it. Raises what keeps the container from starting.
    """
    app = App(image=None if service._app is None else service._app.image)
    app._register(service)
    client = shared_client()
    run = _HeldRun(app, client=client, description=description, detach=False, environment=environment)
    with run:
        app_id, function_id = app.app_id, service._object_id
        assert app_id is not None  # noqa: S101 - the app runs
        assert function_id is not None  # noqa: S101
        # Once a container has answered, it is there; and it stays, for one is always kept.
        remote(client, function_id, description, ((), {}), "")
        containers = client.call(lambda: client.containers.list_containers(ListContainersRequest(app_id=app_id)))
        if not containers.containers:
            raise exc.ServiceError("the container ended before it could be entered; see `skerry app logs` for why")
        yield containers.containers[0].container_id
    if run.interrupted:
        raise KeyboardInterrupt


class _HoldLoader(Loader):
    """Loads functions as they are, but for what they do."""

    def _define(self, function: Function[..., Any]) -> FunctionDefinition:
        definition = super()._define(function)
        definition.module, definition.qualname, definition.serialized = "skerry._runner.hold", "hold", None
        definition.class_spec = definition.retries = definition.concurrency = definition.batching = None
        definition.schedule = None
        definition.is_generator = definition.single_use_containers = definition.interactive = False
        definition.autoscaler = Autoscaler(min_containers=1, max_containers=1)
        definition.timeout = Duration(seconds=_LONGEST_SECONDS)
        return definition


class _HeldRun(AppRun):
    loader_class = _HoldLoader
