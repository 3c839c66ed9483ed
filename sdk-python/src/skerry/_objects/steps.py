"""The steps of images, and checks of what their methods are given."""

from __future__ import annotations

from skerry.exception import InvalidError, UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Packages: TypeAlias = str | list[str]


class Step:
    """One change to an image: its kind, what the kind needs, and how it is built."""

    __slots__ = ("build_env", "fields", "force_build", "kind")

    def __init__(self, kind: str, fields: dict[str, Any], build_env: dict[str, str], force_build: bool) -> None:
        self.kind = kind
        self.fields = fields
        self.build_env = build_env
        self.force_build = force_build

    def __repr__(self) -> str:
        fields = {**self.fields, **self.fields.get("options", {})}
        fields.pop("options", None)
        return f"{self.kind}({', '.join(f'{key}={value!r}' for key, value in fields.items() if value)})"


def later(what: str) -> UnimplementedError:
    """Return what to raise for a part of the surface that a later version brings."""
    return UnimplementedError(f"{what} is not available in this version of skerry yet")


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
