"""Brings an app's functions with all they need to the server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import skerry
from skerry import _modal
from skerry._client.blobs import make_payload
from skerry._client.direct import drive
from skerry._client.serialization import pickle_whole
from skerry._gen.skerry.v1.deployment_pb import ReserveFunctionsRequest
from skerry._gen.skerry.v1.function_pb import (
    Autoscaler,
    ClassSpec,
    FunctionDefinition,
    Method,
    Mount,
    ParameterSpec,
    ParameterType,
    Resources,
)
from skerry._objects.bound import parameter_message
from skerry._objects.cls import has_constructor, is_generator, parameters
from skerry._objects.lifecycle import partials
from skerry._objects.partial import METHOD
from skerry._objects.volumes import bucket_messages, volume_messages
from skerry.config import config
from skerry.exception import InvalidError

from .images import Images
from .mounts import Mounts
from .policies import batching_of, concurrency_of, duration, placement_of, retries_of, schedule_of
from .secrets import Secrets
from .source import alias_main, find_source

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App
    from skerry._objects.function import Function
    from skerry._objects.options import FunctionOptions

    from .display import Display

_MAX_SERIALIZED = 16 << 20
_LARGE_SERIALIZED = 256 << 10


class Loader:
    """Loads the functions of one app: images are built, files sent and secrets made, each of them once."""

    def __init__(
        self,
        client: Client,
        app: App,
        app_id: str,
        display: Display,
        *,
        environment: str = "",
        interactive: bool = False,
    ) -> None:
        self._client = client
        self._app = app
        self._app_id = app_id
        self._display = display
        self._environment = environment
        self._interactive = interactive
        self._mounts = Mounts(client, display)
        self._secrets = Secrets(client, app_id)
        self._images = Images(client, self._mounts, self._secrets, display, environment)

    @property
    def paths(self) -> list[str]:
        """The local files and folders that were sent."""
        return self._mounts.paths

    def load(self) -> list[FunctionDefinition]:
        """Return the definitions to publish."""
        alias_main()
        definitions: list[FunctionDefinition] = []
        for function in self._app._functions.values():
            definitions.append(self._define(function))
            self._display.created(f"{'function' if function._cls is None else 'class'} {function.name}")
        return definitions

    def _define(self, function: Function[..., Any]) -> FunctionDefinition:
        options, raw = function._options, function._raw
        assert options is not None  # noqa: S101 - registered functions were decorated
        app = function._app or self._app
        include = app._include_source if options.include_source is None else options.include_source
        cls = function._cls
        raw = raw if cls is None else cls._user_cls
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
            secret_ids=[self._secrets.load(secret) for secret in secrets.values()],
            resources=_resources(options),
            timeout=duration(options.timeout),
            autoscaler=_autoscaler(options),
            python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
            block_network=options.block_network,
            client_version=f"python/{skerry.__version__}",
            is_generator=function.is_generator,
            single_use_containers=options.single_use,
            placement=placement_of(
                options.region, options.cloud or str(config.get("default_cloud")) or None, options.nonpreemptible
            ),
            restrict_access=options.restrict_access,
            interactive=self._interactive,
            modal_names=_modal.installed(),
            volume_mounts=drive(volume_messages({**app._volumes, **options.volumes}, self._environment)),
            bucket_mounts=bucket_messages({**app._volumes, **options.volumes}, self._secrets.load),
        )
        _add_policies(definition, function)
        if cls is not None:
            definition.class_spec = class_spec(cls._user_cls)
        if options.startup_timeout is not None:
            definition.startup_timeout = duration(options.startup_timeout)
        if not source.module:
            definition.serialized = make_payload(self._client, _pickle(function), f"function {function.name}")
        return definition


def reserve(client: Client, app: App, app_id: str, name: str = "", environment: str = "") -> None:
    """Give an app's functions the ids that they will have once they are published."""
    request = ReserveFunctionsRequest(
        app_id=app_id, name=name, environment=environment, function_names=list(app._functions)
    )
    ids = client.call(lambda: client.apps.reserve_functions(request)).function_ids
    for function_name, function in app._functions.items():
        function._bind(client, ids[function_name], app_id)


def class_spec(cls: type) -> ClassSpec:
    """Return what the server has to know of a class."""
    spec = ClassSpec(
        methods=[
            Method(name=name, is_generator=is_generator(marked)) for name, marked in partials(cls, METHOD).items()
        ],
        custom_constructor=has_constructor(cls),
    )
    for name, (kind, parameter) in parameters(cls).items():
        declared = ParameterSpec(name=name, type=ParameterType(kind))
        if not parameter.required:
            declared.default_value = parameter_message(name, kind, parameter.default)
        spec.parameters.append(declared)
    return spec


def _add_policies(definition: FunctionDefinition, function: Function[..., Any]) -> None:
    options = function._options
    assert options is not None  # noqa: S101 - see above
    if (retries := retries_of(options.retries)) is not None:
        definition.retries = retries
    if function._concurrency is not None:
        definition.concurrency = concurrency_of(function._concurrency)
    if function._batching is not None:
        definition.batching = batching_of(function._batching)
    if options.schedule is not None:
        definition.schedule = schedule_of(options.schedule)


def _pickle(function: Function[..., Any]) -> bytes:
    raw: Any = function._raw if function._cls is None else function._cls._user_cls
    data = pickle_whole(raw, f"function {function.name}")
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
        autoscaler.scaledown_window = duration(options.scaledown_window)
    return autoscaler
