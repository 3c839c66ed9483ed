"""The parts of images: where they start, their steps, and where in the user's code each was written."""

from __future__ import annotations

import sys

from skerry.exception import UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple, TypeAlias

    from skerry._volume.volume import Volume

    from .secret import Secret

    Fields: TypeAlias = dict[str, Any] | Callable[[], dict[str, Any]]

    class Site(NamedTuple):
        """A line of the user's code."""

        file: str
        line: int


_PACKAGE = __name__.partition(".")[0]


def call_site() -> Site | tuple[str, int]:
    """Return the line outside of this package that the caller was called from."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "", 0


class Build:
    """What a base and a step have in common: how it is built."""

    __slots__ = ("env", "force", "gpu", "secrets", "volumes")

    def __init__(
        self,
        env: dict[str, str] | None = None,
        secrets: list[Secret] | None = None,
        gpu: str = "",
        force: bool = False,
        volumes: dict[str, Volume] | None = None,
    ) -> None:
        self.env = env or {}
        self.secrets = secrets or []
        self.gpu = gpu
        self.force = force
        self.volumes = volumes or {}


class Step:
    """A base, or one change to an image: its kind and fields in the recipe, how it is built, and the call that it comes from.

    Fields that need local files or work are a function, called when the image is built: containers make images as well, without these.
    """

    __slots__ = ("build", "fields", "kind", "shown", "site")

    def __init__(self, kind: str, fields: Fields, build: Build, shown: str) -> None:
        self.kind = kind
        self.fields = fields
        self.build = build
        self.shown = shown
        self.site = call_site()

    def resolve(self) -> dict[str, Any]:
        """Return the fields."""
        return self.fields() if callable(self.fields) else self.fields

    def __repr__(self) -> str:
        return self.shown


def show_call(name: str, positional: Any = (), **options: object) -> str:
    """Return a call for people, without the options that say nothing."""
    words = [repr(item) for item in positional] if type(positional) in (list, tuple) else [repr(positional)]
    words += [f"{key}={value!r}" for key, value in options.items() if value]
    return f"{name}({', '.join(words)})"


def later(what: str) -> UnimplementedError:
    """Return what to raise for a part of the surface that a later version brings."""
    return UnimplementedError(f"{what} is not available in this version of skerry yet")
