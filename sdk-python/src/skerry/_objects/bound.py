"""Functions with parameters or options of their own, and so with containers of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf import Oneof

from skerry._client.direct import drive
from skerry._gen.skerry.v1.function_pb import (
    BindFunctionRequest,
    Parameter,
    ParameterType,
    UpdateAutoscalerRequest,
)
from skerry._gen.skerry.v1.options_pb import FunctionOptions
from skerry._run.policies import batching_of, concurrency_of, duration, placement_of, retries_of
from skerry.exception import InvalidError, UnimplementedError
from skerry.types import FunctionAutoscalerSettings

from .options import LATER, check_secrets, duration_option, positive_option, request_and_limit
from .secret import Secret
from .volumes import bucket_messages, check_volumes, volume_messages

if TYPE_CHECKING:
    from typing import Any

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.bucket_pb import BucketMount

    from .function import Function

_KNOWN = frozenset(
    [
        "cpu",
        "memory",
        "env",
        "secrets",
        "volumes",
        "retries",
        "max_containers",
        "buffer_containers",
        "scaledown_window",
        "timeout",
        "region",
        "cloud",
        "concurrency",
        "batching",
    ]
)
# How many of its instances a function remembers.
_MOST_INSTANCES = 32

# The field of a Parameter that has a value of each type.
_FIELDS = {1: "string_value", 2: "int_value", 3: "bytes_value", 4: "bool_value"}


class Changes:
    """Options that differ from the definition, those given later over those before. Values that are None or empty say nothing."""

    def __init__(self, before: Changes | None, given: dict[str, Any]) -> None:
        for name, value in given.items():
            if name in LATER and not any(value is none or value == none for none in LATER[name]):
                raise UnimplementedError(f"with_options({name}=...) is not available in this version of skerry yet")
            if name not in _KNOWN and name not in LATER:
                raise TypeError(f"with_options() has no option {name!r}")
        self.options: dict[str, Any] = dict(before.options) if before is not None else {}
        self.options.update({name: value for name, value in given.items() if name in _KNOWN and value})
        self.message([])  # raises for values that make no sense
        self.volumes = check_volumes(self.options.get("volumes"))
        self._secret_ids: dict[str, list[str]] = {}  # by app
        self._buckets: dict[str, list[BucketMount]] = {}  # by app

    def secret_ids(self, client: Client, app_id: str) -> list[str]:
        """Return the ids of the secrets in an app, made there once: other secrets would be other containers."""
        if app_id not in self._secret_ids:
            self._secret_ids[app_id] = [drive(s._id_in(client, app_id)) for s in self.secrets()]
        return self._secret_ids[app_id]

    def buckets(self, client: Client, app_id: str) -> list[BucketMount]:
        """Return the buckets for an app, whose secrets are made there once."""
        if app_id not in self._buckets:
            self._buckets[app_id] = bucket_messages(self.volumes, lambda s: drive(s._id_in(client, app_id)))
        return self._buckets[app_id]

    def secrets(self) -> list[Secret]:
        """Return the secrets, with the environment variables last."""
        secrets = check_secrets(self.options.get("secrets"))
        if env := self.options.get("env"):
            secrets.append(Secret.from_dict(env))
        return secrets

    def message(self, secret_ids: list[str]) -> FunctionOptions:
        """Return the options for the server."""
        given = self.options.get
        cpu, cpu_limit = request_and_limit("cpu", given("cpu"), (int, float), "cores")
        memory, memory_limit = request_and_limit("memory", given("memory"), (int,), "MiB")
        message = FunctionOptions(
            cpu_milli=round((cpu or 0) * 1000),
            cpu_limit_milli=round((cpu_limit or 0) * 1000),
            memory_mib=memory or 0,
            memory_limit_mib=memory_limit or 0,
            secret_ids=secret_ids,
            max_containers=positive_option("max_containers", given("max_containers"), "containers") or 0,
            buffer_containers=positive_option("buffer_containers", given("buffer_containers"), "containers") or 0,
        )
        if window := positive_option("scaledown_window", given("scaledown_window"), "seconds"):
            message.scaledown_window = duration(window)
        if timeout := given("timeout"):
            message.timeout = duration(duration_option("timeout", timeout))
        if (retries := retries_of(given("retries"))) is not None:
            message.retries = retries
        if given("region") or given("cloud"):
            message.placement = placement_of(given("region"), given("cloud"), False)
        if (concurrency := given("concurrency")) is not None:
            message.concurrency = concurrency_of(concurrency)
        if (batching := given("batching")) is not None:
            message.batching = batching_of(batching)
        return message


def parameter_message(name: str, kind: int, value: Any) -> Parameter:
    """Return the value of a class's parameter for the server."""
    if kind == ParameterType.INT and not -(2**63) <= value < 2**63:
        raise InvalidError(f"parameter {name!r}: {value} does not fit 64 bits")
    field: Any = Oneof(_FIELDS[kind], int(value) if kind == ParameterType.INT else value)
    return Parameter(name=name, value=field)


def bind(
    client: Client,
    function: Function[..., Any],
    function_id: str,
    *,
    changes: Changes | None = None,
    parameters: dict[str, tuple[int, Any]] | None = None,
    constructor: tuple[tuple[Any, ...], dict[str, Any]] | None = None,
) -> str:
    """Return the id of a function that has what is given of its own: the same for the same.

    The function remembers the ids that it was asked for last, so that instances which come and go cost no request each.
    """
    request = BindFunctionRequest(function_id=function_id)
    for name, (kind, value) in (parameters or {}).items():
        request.parameters.append(parameter_message(name, kind, value))
    if constructor is not None:
        from skerry._client.serialization import serialize

        request.constructor_arguments = serialize(constructor, f"the constructor's arguments of {function.name}")
    if changes is not None and changes.options:
        request.options = changes.message(changes.secret_ids(client, function._app_of()))
        request.options.volume_mounts = drive(volume_messages(changes.volumes))
        request.options.bucket_mounts = changes.buckets(client, function._app_of())
    key, known = request.to_binary(), function._instances
    bound_id = known.pop(key, None) or client.call(lambda: client.functions.bind_function(request)).function_id
    known[key] = bound_id
    while len(known) > _MOST_INSTANCES:
        known.pop(next(iter(known)), None)
    return bound_id


def update_autoscaler(
    client: Client,
    function_id: str,
    min_containers: int | None,
    max_containers: int | None,
    buffer_containers: int | None,
    scaledown_window: int | None,
) -> FunctionAutoscalerSettings:
    """Set bounds of the number of containers; those that are None stay as they are."""
    given = {"min_containers": min_containers, "max_containers": max_containers, "buffer_containers": buffer_containers}
    for name, value in given.items():
        if value is not None and (type(value) is not int or value < 0):
            raise InvalidError(f"{name} {value!r}: want 0 or more containers")
    request = UpdateAutoscalerRequest(function_id=function_id)
    for name, value in given.items():
        if value is not None:
            setattr(request, name, value)
    if scaledown_window is not None:
        request.scaledown_window = duration(positive_option("scaledown_window", scaledown_window, "seconds"))
    bounds = client.call(lambda: client.functions.update_autoscaler(request)).autoscaler
    assert bounds is not None  # noqa: S101 - the server always says them
    window = bounds.scaledown_window
    return FunctionAutoscalerSettings(
        bounds.min_containers, bounds.max_containers, window.seconds if window else 0, bounds.buffer_containers
    )
