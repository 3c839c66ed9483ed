"""The options of ``@app.function``, checked."""

from __future__ import annotations

from skerry._names import check_name, check_variables
from skerry.exception import DeprecationError, InvalidError, UnimplementedError
from skerry.retries import Retries
from skerry.schedule import Schedule

from .image import Image
from .secret import Secret
from .volumes import check_volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Options that the reference surface has and a later version of Skerry brings, with the values that ask for nothing.
LATER: dict[str, tuple[object, ...]] = {
    "gpu": (None,),
    "network_file_systems": (None, {}),
    "proxy": (None,),
    "routing_region": (None,),
    "enable_memory_snapshot": (None, False),
    "i6pn": (None, False),
    "experimental_options": (None, {}),
    "_experimental_restrict_output": (None, False),
}

_REMOVED = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
    "allow_concurrent_inputs": "@skerry.concurrent",
    "mounts": "image.add_local_dir(), image.add_local_file() or image.add_local_python_source()",
    "interactive": "`skerry run -i`",
    "secret": "secrets=[...]",
}

DEFAULT_TIMEOUT = 300

# The most of anything that makes sense, by its unit. The server's bounds may be lower, and it names them.
_MOST = {"cores": 1000, "MiB": 64 << 20, "containers": 100_000, "seconds": 86_400}


class FunctionOptions:
    """What ``@app.function`` was given. Raises InvalidError for what makes no sense."""

    __slots__ = (
        "block_network",
        "buffer_containers",
        "cloud",
        "cpu",
        "cpu_limit",
        "ephemeral_disk",
        "image",
        "include_source",
        "is_generator",
        "max_containers",
        "memory",
        "memory_limit",
        "min_containers",
        "nonpreemptible",
        "region",
        "restrict_access",
        "retries",
        "scaledown_window",
        "schedule",
        "secrets",
        "serialized",
        "single_use",
        "startup_timeout",
        "timeout",
        "volumes",
    )

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.image: Image | None = _of_type("image", given["image"], Image)
        self.secrets = check_secrets(given["secrets"])
        self.volumes = check_volumes(given["volumes"])
        if given["env"]:
            self.secrets.append(Secret.from_dict(check_variables("env", given["env"])))
        self.serialized = bool(given["serialized"])
        self.cpu, self.cpu_limit = request_and_limit("cpu", given["cpu"], (int, float), "cores")
        self.memory, self.memory_limit = request_and_limit("memory", given["memory"], (int,), "MiB")
        self.ephemeral_disk = positive_option("ephemeral_disk", given["ephemeral_disk"], "MiB")
        self.min_containers = _count("min_containers", given["min_containers"])
        self.max_containers = positive_option("max_containers", given["max_containers"], "containers")
        self.buffer_containers = _count("buffer_containers", given["buffer_containers"])
        self.scaledown_window = positive_option("scaledown_window", given["scaledown_window"], "seconds")
        if self.min_containers and self.max_containers and self.min_containers > self.max_containers:
            raise InvalidError(
                f"min_containers {self.min_containers} is more than max_containers {self.max_containers}"
            )
        if given["timeout"] is None:
            raise InvalidError("timeout must not be None; the most is 86400 seconds (24 hours)")
        self.timeout = duration_option("timeout", given["timeout"])
        startup = given["startup_timeout"]
        self.startup_timeout = None if startup is None else duration_option("startup_timeout", startup)
        self.block_network = bool(given["block_network"])
        self.include_source: bool | None = given["include_source"]
        self.retries = Retries.of(given.get("retries"))
        self.schedule: Schedule | None = given.get("schedule")
        if self.schedule is not None and not isinstance(self.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"schedule must be a skerry.Cron or skerry.Period, got {type(self.schedule).__name__}")
        self.is_generator: bool | None = given.get("is_generator")
        self.region, self.cloud = given.get("region"), given.get("cloud")
        _check_placement(self.region, self.cloud)
        self.nonpreemptible = bool(given.get("nonpreemptible"))
        self.restrict_access = bool(given.get("restrict_modal_access"))
        self.single_use = bool(given.get("single_use_containers"))
        if given.get("max_inputs") is not None:
            if given["max_inputs"] != 1:
                raise InvalidError(
                    f"max_inputs={given['max_inputs']!r}: only 1 is supported; use single_use_containers=True"
                )
            self.single_use = True


def _check_placement(region: Any, cloud: Any) -> None:
    regions: Any = region if isinstance(region, (list, tuple)) else [region]  # pyright: ignore[reportUnknownVariableType]
    if region is not None and not all(isinstance(name, str) for name in regions):
        raise InvalidError(f"region={region!r}: want a name or a list of names")
    if cloud is not None and not isinstance(cloud, str):
        raise InvalidError(f"cloud={cloud!r}: want a name")


def check_secrets(secrets: Sequence[Secret] | None) -> list[Secret]:
    """Return a copy of a list of secrets, or raise InvalidError."""
    if secrets is None:
        return []
    if not isinstance(secrets, (list, tuple)) or not all(isinstance(secret, Secret) for secret in secrets):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError("secrets must be a list of skerry.Secret")
    return list(secrets)


def refuse_later(given: Mapping[str, object], noun: str = "the function option") -> None:
    """Raise UnimplementedError for an option that a later version brings, InvalidError or TypeError for one that there is not."""
    for key, value in given.items():
        if key in LATER:
            if not any(value is none or value == none for none in LATER[key]):
                raise UnimplementedError(f"{noun} {key!r} is not available in this version of skerry yet")
        elif key in _REMOVED:
            raise DeprecationError(f"{noun} {key!r} was removed; use {_REMOVED[key]}")
        else:
            raise TypeError(f"{noun} {key!r} does not exist")


def function_name(name: str | None, raw: Any) -> str:
    """Return the name of a function in its app: the one given, or the qualified name. Raises InvalidError for a bad one."""
    if name is not None:
        return check_name("function", name)
    return check_name("function", raw.__qualname__.rpartition("<locals>.")[2])


def _of_type(key: str, value: Any, wanted: type) -> Any:
    if value is not None and not isinstance(value, wanted):
        raise InvalidError(f"{key} must be a skerry.{wanted.__name__}, got {type(value).__name__}")
    return value


def request_and_limit(key: str, value: Any, kinds: tuple[type, ...], unit: str) -> tuple[Any, Any]:
    """Return an option that is a number, or (request, limit), as two. Raises InvalidError."""
    pair: tuple[Any, ...] = value if isinstance(value, tuple) else (value, None)  # pyright: ignore[reportUnknownVariableType]
    if len(pair) != 2:
        raise InvalidError(f"{key} must be a number of {unit} or (request, limit)")
    request, limit = pair
    most = _MOST[unit]
    for number in pair:
        if number is not None and (isinstance(number, bool) or not isinstance(number, kinds) or not 0 < number <= most):
            raise InvalidError(f"{key} {number!r}: want a positive number of {unit}, at most {most:,}")
    if request is not None and limit is not None and limit < request:
        raise InvalidError(f"{key}: the limit {limit} is less than the request {request}")
    return request, limit


def _count(key: str, value: Any) -> int | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST["containers"]
    ):
        raise InvalidError(f"{key} {value!r}: want 0 to {_MOST['containers']:,} containers")
    return value


def positive_option(key: str, value: Any, unit: str) -> Any:
    """Return an option that is a whole number above 0, or None. Raises InvalidError."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST[unit]):
        raise InvalidError(f"{key} {value!r}: want a whole number of {unit}, from 1 to {_MOST[unit]:,}")
    return value


def duration_option(key: str, value: Any) -> float:
    """Return an option in seconds, 1 to 86400. Raises InvalidError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 86400:
        raise InvalidError(f"{key} {value!r}: want 1 to 86400 seconds")
    return value
