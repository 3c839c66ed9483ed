"""Images."""

from __future__ import annotations

from skerry.exception import ExecutionError, InvalidError

from .bases import Bases
from .function_steps import FunctionSteps
from .local_steps import LocalSteps
from .project_steps import ProjectSteps
from .python_steps import PipSteps
from .steps import Build, Step, later, show_call
from .system_steps import SystemSteps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    P = ParamSpec("P")
    R = TypeVar("R")


class Image(Bases, PipSteps, ProjectSteps, SystemSteps, FunctionSteps, LocalSteps):
    """The file system of a function's containers: a base and steps.

    Images are immutable values: every method returns a new image. Nothing is built until an app that uses the image runs or is deployed,
    and the same image is never built twice::

        image = skerry.Image.debian_slim().apt_install("ffmpeg").pip_install("numpy>=2").env({"MODE": "fast"})
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("make an image with skerry.Image.debian_slim()")

    @property
    def object_id(self) -> str | None:
        """The built image, "im-...", once an app that uses it has run; else None."""
        return self._object_id

    @classmethod
    def from_id(cls, image_id: str, client: object = None) -> Self:  # noqa: ARG003 - part of the public surface
        """Return an image that is there, by its id, "im-...". Steps may follow."""
        if not isinstance(image_id, str) or not image_id.startswith("im-"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"Image.from_id: want an id such as 'im-...', got {image_id!r}")
        image = cls._make(Step("existing", {"image_id": image_id}, Build(), show_call("from_id", image_id)))
        image._object_id = image_id
        return image

    def pipe(self, func: Callable[Concatenate[Image, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``func(image, *args, **kwargs)``, so that functions that change images can be chained."""
        return func(self, *args, **kwargs)

    def imports(self) -> ImageImports:
        """Return a context manager for imports of packages that only the containers of this image have.

        ::

            with image.imports():
                import numpy as np

        An ImportError inside is ignored locally; in a container of this image it is raised when a function that uses it starts.
        """
        return ImageImports(self)

    def hydrate(self, client: object = None) -> Self:
        """Return the image. Raises ExecutionError unless an app that uses it has run: images are built by apps."""
        if self._object_id is None:
            raise ExecutionError("the image has not been built; it is when an app that uses it runs or is deployed")
        return self

    @classmethod
    def from_name(cls, *_args: object, **_kwargs: object) -> Self:
        """Not available yet."""
        raise later("Image.from_name")

    def __getattr__(self, name: str) -> Any:
        if name in ("build", "publish", "logs"):
            raise later(f"Image.{name}")
        raise AttributeError(f"'Image' object has no attribute {name!r}")

    def _raise_captured(self) -> None:
        """Raise what ``imports()`` swallowed: called in a container of this image before its function runs."""
        if self._captured:
            raise self._captured[0]


class ImageImports:
    """Context of ``Image.imports()``."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        from skerry._context import is_local

        self._image._captured.append(error)
        if is_local() and not isinstance(error, ImportError):
            import warnings

            warnings.warn(f"Image.imports(): {type(error).__name__}: {error}", stacklevel=2)
        return True
