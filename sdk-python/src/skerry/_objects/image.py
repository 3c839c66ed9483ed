"""Images."""

from __future__ import annotations

from skerry._twin import twin
from skerry.exception import ExecutionError, InvalidError

from .arguments import split_name
from .bases import Bases
from .function_steps import FunctionSteps
from .local_steps import LocalSteps
from .project_steps import ProjectSteps
from .python_steps import PipSteps
from .steps import Build, Step, show_call
from .system_steps import SystemSteps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    from skerry._client.client import Client

    from .app import App
    from .image_logs import ImageLogsManager

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

    @classmethod
    def from_name(cls, name: str, *, environment_name: str | None = None, client: object = None) -> Self:  # noqa: ARG003 - as above
        """Return the image that has a name, which :meth:`publish` gave it. Steps may follow.

        Args:
            name: such as "trainer", "trainer:v2" or "main/trainer:v2"; without a tag the tag is "latest".
            environment_name: where it is known, unless the name says so.
            client: default: the process's own.

        It is looked up when an app that uses it runs: NotFoundError where there is none.
        """
        environment, plain, tag = split_name("Image.from_name", name, environment_name)
        fields = {"environment": environment, "name": plain, "tag": tag}
        return cls._make(Step("named", fields, Build(), show_call("from_name", name)))

    @twin
    def build(self, app: App) -> Image:
        """Build the image now, and return it with its id.

        Args:
            app: whose secrets its steps use; one that runs, or that ``App.lookup`` returned.

        Raises InvalidError for another app, ImageBuildError.
        """
        from skerry._run.building import build_image

        return build_image(self, app)

    @twin
    def publish(
        self,
        name: str,
        *,
        environment_name: str | None = None,
        experimental_options: dict[str, Any] | None = None,
        client: Client | None = None,
    ) -> None:
        """Give the image a name, for :meth:`from_name`. One that had it before loses it.

        Args:
            name: such as "trainer", "trainer:v2" or "main/trainer:v2"; without a tag the tag is "latest".
            environment_name: where it is to be known, unless the name says so.
            experimental_options: {"is_public": True} lets other environments use it.
            client: default: the process's own.

        Raises ExecutionError unless the image has been built, InvalidError for what can't be a name.
        """
        from skerry._run.building import publish_image

        publish_image(self, name, environment_name, experimental_options, client)

    @property
    def logs(self) -> ImageLogsManager:
        """What its build said, also one that failed. Raises ExecutionError before there was one."""
        from .image_logs import ImageLogsManager

        return ImageLogsManager(self)

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
        """Return the image with its id. Raises ExecutionError unless it has a name, or an app that uses it has run."""
        if self._object_id is None and self._base.kind == "named" and not self._steps:
            from skerry._run.building import find_image

            self._object_id = find_image(self._base.resolve(), client)
        if self._object_id is None:
            raise ExecutionError("the image has not been built; it is when an app that uses it runs or is deployed")
        return self

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
