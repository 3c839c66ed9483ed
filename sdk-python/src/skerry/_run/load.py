"""Brings an app's functions with all they need to the server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from protobuf.wkt import Duration

import skerry
from skerry._client.blobs import make_payload
from skerry._client.serialization import serialize_by_value
from skerry._gen.skerry.v1.function_pb import Autoscaler, FunctionDefinition, Mount, Resources
from skerry._gen.skerry.v1.secret_pb import CreateSecretRequest
from skerry.exception import InvalidError

from .images import Images
from .mounts import Mounts
from .source import alias_main, find_source

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App
    from skerry._objects.function import Function
    from skerry._objects.options import FunctionOptions
    from skerry._objects.secret import Secret

    from .display import Display

_MAX_SERIALIZED = 16 << 20
_LARGE_SERIALIZED = 256 << 10


class Loader:
    """Loads the functions of one app: images are built, files sent and secrets made, each of them once."""

    def __init__(self, client: Client, app: App, app_id: str, display: Display) -> None:
        self._client = client
        self._app = app
        self._app_id = app_id
        self._display = display
        self._mounts = Mounts(client, display)
        self._images = Images(client, self._mounts, display)
        self._secrets: dict[int, str] = {}

    def load(self) -> list[FunctionDefinition]:
        """Return the definitions to publish."""
        alias_main()
        definitions: list[FunctionDefinition] = []
        for function in self._app._functions.values():
            definitions.append(self._define(function))
            self._display.created(f"function {function.name}")
        return definitions

    def _define(self, function: Function[..., Any]) -> FunctionDefinition:
        options, raw = function._options, function._raw
        assert options is not None  # noqa: S101 - registered functions were decorated
        app = function._app or self._app
        include = app._include_source if options.include_source is None else options.include_source
        source = find_source(raw, serialized=options.serialized, include=include)
        image = options.image or app.image
        mounts = [path for files in (*source.files, *image._mounts) for path in self._mounts.load(files)]
        secrets = {id(secret): secret for secret in (*app._secrets, *options.secrets)}
        definition = FunctionDefinition(
            name=function.name,
            module=source.module,
            qualname=source.qualname,
            image_id=self._images.load(image),
            mounts=[Mount(remote_path=remote_path, tree_digest=digest) for remote_path, digest in mounts],
            secret_ids=[self._secret(secret) for secret in secrets.values()],
            resources=_resources(options),
            timeout=_duration(options.timeout),
            autoscaler=_autoscaler(options),
            python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
            block_network=options.block_network,
            client_version=f"python/{skerry.__version__}",
        )
        if options.startup_timeout is not None:
            definition.startup_timeout = _duration(options.startup_timeout)
        if not source.module:
            definition.serialized = make_payload(self._client, _pickle(function), f"function {function.name}")
        return definition

    def _secret(self, secret: Secret) -> str:
        if id(secret) not in self._secrets:
            request = CreateSecretRequest(app_id=self._app_id, variables=secret._variables)
            self._secrets[id(secret)] = self._client.call(lambda: self._client.secrets.create_secret(request)).secret_id
        return self._secrets[id(secret)]


def _pickle(function: Function[..., Any]) -> bytes:
    import cloudpickle

    pickler: Any = cloudpickle
    raw: Any = function._raw
    module = sys.modules.get(raw.__module__)
    # By value even where the module could be imported here: it can't be there.
    by_value = module is not None and module.__name__ != "__main__"
    if by_value:
        pickler.register_pickle_by_value(module)
    try:
        data = serialize_by_value(raw, f"function {function.name}")
    finally:
        if by_value:
            pickler.unregister_pickle_by_value(module)
    if len(data) > _MAX_SERIALIZED:
        raise InvalidError(
            f"function {function.name!r} takes {len(data):,} bytes when pickled; the most is 16 MiB. What large values does it use?"
        )
    if len(data) > _LARGE_SERIALIZED:
        import warnings

        warnings.warn(
            f"function {function.name!r} takes {len(data):,} bytes when pickled; large values slow its start",
            stacklevel=2,
        )
    return data


def _resources(options: FunctionOptions) -> Resources:
    return Resources(
        cpu_milli=round((options.cpu or 0) * 1000),
        cpu_limit_milli=round((options.cpu_limit or 0) * 1000),
        memory_mib=options.memory or 0,
        memory_limit_mib=options.memory_limit or 0,
        ephemeral_disk_mib=options.ephemeral_disk or 0,
    )


def _autoscaler(options: FunctionOptions) -> Autoscaler:
    autoscaler = Autoscaler(
        min_containers=options.min_containers or 0,
        max_containers=options.max_containers or 0,
        buffer_containers=options.buffer_containers or 0,
    )
    if options.scaledown_window is not None:
        autoscaler.scaledown_window = _duration(options.scaledown_window)
    return autoscaler


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
