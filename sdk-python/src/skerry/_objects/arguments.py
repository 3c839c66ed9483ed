"""Checks of what the methods of images are given."""

from __future__ import annotations

from skerry._names import check_variables
from skerry.exception import InvalidError

from .steps import Build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeAlias

    Packages: TypeAlias = str | list[str]


def flatten(method: str, items: Sequence[Packages]) -> list[str]:
    """Return strings and lists of strings as one list, or raise InvalidError."""
    flat: list[str] = []
    for item in items:
        parts = item if isinstance(item, (list, tuple)) else [item]
        for part in parts:
            if not isinstance(part, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidError(f"{method}: want strings or lists of strings, got {type(part).__name__}")
            flat.append(part)
    return flat


def packages(method: str, items: Sequence[Packages]) -> list[str]:
    """Return package names in order, or raise InvalidError for what is an option."""
    names = flatten(method, items)
    for name in names:
        if not name.strip() or name.startswith("-"):
            raise InvalidError(f"{method}: {name!r} is no package; options go into extra_options")
    return sorted(names)


def strings(method: str, noun: str, items: Any) -> list[str]:
    """Return a list of strings, or raise InvalidError. None is an empty one."""
    if items is None:
        return []
    if not issubclass(type(items), (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise InvalidError(f"{method}: {noun} must be a list of strings, got {items!r}")
    return list(items)


def index_options(
    find_links: str | None, index_url: str | None, extra_index_url: str | None, pre: bool, extra_options: str
) -> dict[str, Any]:
    """Return the options of pip-like installers by the names of IndexOptions' fields."""
    return {
        "find_links": find_links or "",
        "index_url": index_url or "",
        "extra_index_url": extra_index_url or "",
        "pre": pre,
        "extra_options": extra_options,
    }


def absolute(method: str, path: str, *, keep_slash: bool = False) -> str:
    """Return a clean absolute path, or raise InvalidError."""
    if not path.startswith("/"):
        raise InvalidError(f"{method}: remote path {path!r} must be absolute")
    import posixpath

    clean = posixpath.normpath(path)
    return clean + "/" if keep_slash and path.endswith("/") and clean != "/" else clean


def building(
    method: str,
    env: dict[str, str | None] | None = None,
    secrets: object = None,
    gpu: object = None,
    force_build: bool = False,
    volumes: Mapping[str, object] | None = None,
) -> Build:
    """Return how a step is built, or raise InvalidError for what makes no sense."""
    from .options import check_secrets
    from .volumes import check_step_volumes

    if env is not None and not isinstance(env, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"{method}: env must be a dict of str to str")
    if gpu is not None and not isinstance(gpu, str):
        raise InvalidError(f"{method}: gpu must be a name such as 'T4' or 'H100:2', got {gpu!r}")
    given: Any = secrets
    return Build(
        check_variables(f"{method}: env", env or {}),
        check_secrets(given),
        gpu or "",
        bool(force_build),
        check_step_volumes(method, volumes),
    )


def variables(method: str, noun: str, values: Any) -> dict[str, str]:
    """Return a dict of strings, or raise InvalidError. None is an empty one."""
    if values is None:
        return {}
    if not issubclass(type(values), dict) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in values.items()
    ):
        raise InvalidError(f"{method}: {noun} must be a dict of str to str")
    return dict(values)


def series(method: str, version: object, *, micro: bool) -> str:
    """Return a Python series such as "3.12", or raise TypeError or InvalidError. With micro, "3.12.4" is taken as well."""
    if not isinstance(version, str):
        raise TypeError(f"{method} must be a string such as '3.12', got {version!r}")
    parts = version.removesuffix("t").split(".")
    if len(parts) not in ((2, 3) if micro else (2,)) or not all(part.isdigit() for part in parts) or parts[0] != "3":
        raise InvalidError(f"{method} {version!r}: want a series such as '3.12'")
    if version.endswith("t") and micro:
        raise InvalidError(f"{method} {version!r}: there is no base with a free-threaded Python; use add_python")
    return ".".join(parts[:2]) + ("t" if version.endswith("t") else "")


def local_series() -> str:
    """Return the series that runs this code."""
    import sys

    return f"{sys.version_info.major}.{sys.version_info.minor}"


def split_name(method: str, name: object, environment: str | None) -> tuple[str, str, str]:
    """Return the environment, name and tag of an image, the first and the last "" where they are not said, or raise InvalidError."""
    from skerry._names import check_environment, check_name

    if not isinstance(name, str):
        raise InvalidError(f"{method}: want a name such as 'trainer:v2', got {name!r}")
    before, slash, rest = name.rpartition("/")
    if slash and environment:
        raise InvalidError(f"{method}: {name!r} names an environment; leave environment_name out")
    plain, colon, tag = rest.partition(":")
    if plain.startswith("im-"):
        raise InvalidError(f"{method}: {plain!r} looks like an image id; use Image.from_id, or choose another name")
    check_name("image", plain)
    if colon:
        check_name("image tag", tag)
        if len(tag) > 50:
            raise InvalidError(f"{method}: tag {tag!r}: want at most 50 characters")
    where = before if slash else environment or ""
    return check_environment(where) if where else "", plain, tag
