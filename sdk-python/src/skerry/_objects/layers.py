"""What all kinds of builder methods of images share."""

from __future__ import annotations

import functools

from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    from typing_extensions import Self

    from .local import LocalFiles
    from .steps import Build, Fields, Step

    P = ParamSpec("P")
    R = TypeVar("R")


class Layers:
    """The state of an image: an immutable value of a base, steps, and files that are mounted."""

    __slots__ = ("_base", "_captured", "_failed_id", "_mounts", "_object_id", "_steps")

    _base: Step
    _captured: list[BaseException]
    _mounts: tuple[LocalFiles, ...]
    _steps: tuple[Step, ...]
    _object_id: str | None
    _failed_id: str | None  # of a build that failed, whose log can be read

    @classmethod
    def _make(cls, base: Step, steps: tuple[Step, ...] = (), mounts: tuple[LocalFiles, ...] = ()) -> Self:
        image = object.__new__(cls)
        image._base = base
        image._steps = steps
        image._mounts = mounts
        image._captured = []
        image._object_id = None
        image._failed_id = None
        return image

    def _with(self, kind: str, fields: Fields, shown: str, build: Build | None = None) -> Self:
        """Return the image with one step more."""
        from .steps import Build, Step

        if self._mounts:
            raise InvalidError(
                f"image: {kind} can't follow add_local_* without copy=True, which must come last; "
                "move it before, or use copy=True to bake the files into the image"
            )
        return self._make(self._base, (*self._steps, Step(kind, fields, build or Build(), shown)))

    def _add(self, files: LocalFiles, copy: bool) -> Self:
        """Return the image with local files more."""
        if copy:
            return self._with("add_local", {"files": files}, repr(files)[:-1] + ", copy=True)")
        return self._make(self._base, self._steps, (*self._mounts, files))

    def __repr__(self) -> str:
        return ".".join([f"skerry.Image.{self._base!r}", *map(repr, self._steps), *map(repr, self._mounts)])


def builder(method: Callable[P, R]) -> Callable[P, R]:
    """Have a method that adds to an image say what to do where it is called on the class."""

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        image: Any = args[0] if args else None
        if not isinstance(image, Layers):
            raise InvalidError(
                f"Image.{method.__name__} was called on the class; begin with a base, such as "
                f"skerry.Image.debian_slim().{method.__name__}(...)"
            )
        return method(*args, **kwargs)

    return checked
