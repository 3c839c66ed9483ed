"""Settings: ``~/.skerry.toml`` and ``SKERRY_*`` variables.

The file has a table per profile; the one with ``active = true`` is used unless ``SKERRY_PROFILE`` or ``--profile`` names another.
For each key the variable ``SKERRY_<KEY>`` comes first, then the profile, then the default. In containers no file is read.

=========================  ====================================================================================================
key                        meaning (default)
=========================  ====================================================================================================
``server_url``             where the gateway listens (http://127.0.0.1:7070)
``token_id``               the token's id, "tk-..."
``token_secret``           the token's secret
``ca_file``                PEM file of the authority that signed the server's certificate (the system's)
``environment``            the environment to work in (the server's default one)
``async_warnings``         warn about blocking calls in an event loop (true)
``heartbeat_interval``     seconds between signs of life of a running app (15)
``logs_timeout``           longest wait for the last output of an app, in seconds (10)
``connect_timeout``        how long a server that can't be reached at first is tried, in seconds (1.5)
``reconnect_timeout``      how long a server that was reached before is tried, in seconds (600)
``serve_timeout``          seconds after which `skerry serve` stops by itself (0: never)
``default_cloud``          the cloud of functions that name none (any)
``force_build``            build every image again (false)
``ignore_cache``           build every image again, and leave those that are there and the cache as they are (false)
``image_builder_version``  rules by which images are built (the server's)
``build_validation``       what happens where a file changed after its app began to be sent: error, warn or ignore (error)
``traceback``              let the command line show whole tracebacks (false)
``loglevel``               level of the SDK's own logger (WARNING)
=========================  ====================================================================================================
"""

from __future__ import annotations

import os
from importlib import import_module

from .exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Value: TypeAlias = str | float | bool

DEFAULTS: dict[str, Value] = {
    "server_url": "http://127.0.0.1:7070",
    "token_id": "",
    "token_secret": "",
    "ca_file": "",
    "environment": "",
    "async_warnings": True,
    "heartbeat_interval": 15.0,
    "logs_timeout": 10.0,
    "connect_timeout": 1.5,
    "reconnect_timeout": 600.0,
    "serve_timeout": 0.0,
    "default_cloud": "",
    "force_build": False,
    "ignore_cache": False,
    "image_builder_version": "",
    "build_validation": "error",
    "traceback": False,
    "loglevel": "WARNING",
}
BUILDER_VERSION = "2026.11"
_MODAL_BUILDER_VERSIONS = ("2023.12", "2024.04", "2024.10", "2025.06", "PREVIEW")
SECRETS = frozenset({"token_secret"})

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class Config:
    """The settings in force. Reading an attribute looks the key up; nothing is read before that.

    Raises InvalidError for a file or variable that makes no sense.
    """

    def __init__(self) -> None:
        self._profiles: dict[str, dict[str, Value]] | None = None
        self._chosen: str | None = None

    @property
    def path(self) -> str:
        """The settings file: ``SKERRY_CONFIG_PATH`` or ``~/.skerry.toml``."""
        return os.environ.get("SKERRY_CONFIG_PATH") or os.path.expanduser("~/.skerry.toml")

    @property
    def profiles(self) -> dict[str, dict[str, Value]]:
        """The tables of the settings file by name."""
        if self._profiles is None:
            self._profiles = {} if os.environ.get("SKERRY_IS_REMOTE") == "1" else _read(self.path)
        return self._profiles

    @property
    def profile(self) -> str:
        """The name of the profile in use, or "" where there is none."""
        chosen = self._chosen or os.environ.get("SKERRY_PROFILE")
        if chosen:
            if chosen not in self.profiles:
                raise InvalidError(
                    f"profile {chosen!r} is not in {self.path}; there is: {', '.join(self.profiles) or 'none'}"
                )
            return chosen
        active = [name for name, table in self.profiles.items() if table.get("active") is True]
        if len(active) > 1:
            raise InvalidError(
                f"{self.path}: several profiles are active ({', '.join(active)}); leave `active = true` in one"
            )
        if not active and len(self.profiles) > 1:
            raise InvalidError(f"{self.path}: no profile is active; run `skerry profile activate NAME`")
        return active[0] if active else next(iter(self.profiles), "")

    def choose(self, profile: str) -> None:
        """Use another profile for the rest of the process."""
        self._chosen = profile

    def begin(self) -> None:
        """Have the profile that was chosen count as one without settings if it is not there: it is about to be written."""
        chosen = self._chosen or os.environ.get("SKERRY_PROFILE")
        if chosen:
            self.profiles.setdefault(chosen, {})

    def reload(self) -> None:
        """Forget what was read, so that the next lookup reads the file again."""
        self._profiles = None

    def get(self, key: str) -> Value:
        """Return the value of a key in force."""
        default = DEFAULTS[key]
        variable = f"SKERRY_{key.upper()}"
        if (text := os.environ.get(variable)) is not None:
            return _parse(variable, text, default)
        table = self.profiles.get(self.profile, {})
        if key not in table:
            return default
        return _parse(f"{self.path}: {key}", table[key], default)

    def as_dict(self) -> dict[str, Value]:
        """Return all keys with the values in force."""
        return {key: self.get(key) for key in DEFAULTS}

    @property
    def server_url(self) -> str:
        """Where the gateway listens, without a slash at the end."""
        return str(self.get("server_url")).rstrip("/")

    @property
    def image_builder_version(self) -> str:
        """The rules by which images are built; "" are the server's. Raises VersionError for rules that there are not."""
        version = str(self.get("image_builder_version"))
        if version in _MODAL_BUILDER_VERSIONS:
            return ""  # there is one set of rules, which is like the latest of these
        if version not in ("", BUILDER_VERSION):
            from .exception import VersionError

            known = ", ".join((BUILDER_VERSION, *_MODAL_BUILDER_VERSIONS))
            raise VersionError(f"image_builder_version {version!r} is not known; there is {known}")
        return version

    @property
    def build_validation(self) -> str:
        """What happens where a file changed after its app began to be sent. Raises InvalidError for what there is not."""
        choice = str(self.get("build_validation"))
        if choice not in ("error", "warn", "ignore"):
            raise InvalidError(f"build_validation {choice!r}: want 'error', 'warn' or 'ignore'")
        return choice

    @property
    def environment(self) -> str:
        """The environment to work in; "" is the server's default one, and in a container that of the container.

        There the variable only tells what it was called when the container started: it may have been renamed.
        """
        if os.environ.get("SKERRY_IS_REMOTE") == "1":
            return ""
        return str(self.get("environment"))

    @property
    def async_warnings(self) -> bool:
        """Warn about blocking calls in an event loop."""
        return bool(self.get("async_warnings"))

    def seconds(self, key: str) -> float:
        """Return a duration."""
        return float(self.get(key))


config = Config()


def parse(key: str, text: str) -> Value:
    """Return the value that a text is for a key. Raises InvalidError."""
    return _parse(key, text, DEFAULTS[key])


def write(path: str, profiles: Mapping[str, Mapping[str, Value]]) -> None:
    """Write a settings file that only its owner can read. It replaces the old one whole or not at all."""
    lines: list[str] = []
    for name, table in profiles.items():
        lines.append(f"[{_toml(name)}]")
        lines.extend(f"{key} = {_toml(value)}" for key, value in table.items())
        lines.append("")
    target = os.path.realpath(path)
    draft = f"{target}.{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    os.replace(draft, target)


def _read(path: str) -> dict[str, dict[str, Value]]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    parser: Any = import_module("tomllib")  # by name: there is none in Python 3.10, where containers read no file
    try:
        tables: dict[str, Any] = parser.loads(content.decode())
    except ValueError as err:
        raise InvalidError(f"{path}: {err}") from err
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidError(f"{path}: {name!r} stands outside a profile; put it below a [profile] line")
    return tables


def _parse(source: str, value: Value, default: Value) -> Value:
    if isinstance(default, bool):
        text = str(value).lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise InvalidError(f"{source}: {value!r} is neither true nor false")
    if isinstance(default, float):
        try:
            return float(value)
        except ValueError:
            raise InvalidError(f"{source}: {value!r} is no number") from None
    return str(value)


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return str(value)
