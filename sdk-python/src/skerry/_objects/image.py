"""Images."""

from __future__ import annotations

import os
import sys

from skerry._names import check_variables
from skerry.exception import ExecutionError, InvalidError

from .local import LocalDir, LocalFile, LocalFiles, LocalPythonSource
from .patterns import NON_PYTHON_FILES
from .steps import Step, absolute, flatten, index_options, later
from .steps import packages as package_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from types import TracebackType
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    from .patterns import Ignore
    from .steps import Packages

    P = ParamSpec("P")
    R = TypeVar("R")


class Image:
    """The file system of a function's containers: a base and steps.

    Images are immutable values: every method returns a new image. Nothing is built until an app that uses the image runs or is deployed,
    and the same image is never built twice::

        image = skerry.Image.debian_slim().apt_install("ffmpeg").pip_install("numpy>=2").env({"MODE": "fast"})
    """

    __slots__ = ("_captured", "_mounts", "_python_version", "_steps", "object_id")

    _captured: list[BaseException]
    _mounts: tuple[LocalFiles, ...]
    _python_version: str
    _steps: tuple[Step, ...]
    object_id: str | None
    """The built image, "im-...", once an app that uses it has run; else None."""

    def __init__(self) -> None:
        raise TypeError("make an image with skerry.Image.debian_slim()")

    @staticmethod
    def _make(python_version: str, steps: tuple[Step, ...], mounts: tuple[LocalFiles, ...]) -> Image:
        image = object.__new__(Image)
        image._python_version = python_version
        image._steps = steps
        image._mounts = mounts
        image._captured = []
        image.object_id = None
        return image

    # Bases.

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> Image:
        """Return a small Debian with Python.

        Args:
            python_version: a series such as "3.11"; default: the series that runs this code, so that pickles fit.
            force_build: build the image again whatever the cache has.

        The server says which series it can have if it can't have this one.
        """
        if python_version is None:
            python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if not isinstance(python_version, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"python_version must be a string such as '3.11', got {python_version!r}")
        parts = python_version.split(".")
        if len(parts) not in (2, 3) or not all(part.isdigit() for part in parts):
            raise InvalidError(f"python_version {python_version!r}: want a series such as '3.11'")
        image = Image._make(".".join(parts[:2]), (), ())
        return image._with("env", {"variables": {}}, force_build=True) if force_build else image

    # Steps.

    def pip_install(
        self,
        *packages: Packages,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: object = None,
        gpu: object = None,
    ) -> Image:
        """Install Python packages with pip.

        Args:
            packages: requirements such as "numpy>=2", or lists of them.
            find_links: ``--find-links``.
            index_url: ``--index-url``.
            extra_index_url: ``--extra-index-url``.
            pre: take pre-releases.
            extra_options: more options, as in a shell.
            force_build: run this step and all after it whatever the cache has.
            env: environment variables of this step alone.
            secrets: not available yet.
            gpu: not available yet.

        Raises InvalidError for a package that begins with "-".
        """
        names = package_names("pip_install", packages)
        if not names:
            return self
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)
        fields = {"packages": names, "options": options}
        return self._with("pip_install", fields, env, secrets=secrets, gpu=gpu, force_build=force_build)

    def uv_pip_install(
        self,
        *packages: Packages,
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: object = None,
        gpu: object = None,
    ) -> Image:
        """Install Python packages with uv, which is much faster than pip and is not left in the image.

        Args:
            packages: requirements such as "numpy>=2", or lists of them.
            requirements: not available yet.
            find_links: ``--find-links``.
            index_url: ``--index-url``.
            extra_index_url: ``--extra-index-url``.
            pre: take pre-releases.
            extra_options: more options, as in a shell.
            force_build: run this step and all after it whatever the cache has.
            uv_version: the version of uv; default: the builder's.
            env: environment variables of this step alone.
            secrets: not available yet.
            gpu: not available yet.

        Raises InvalidError for a package that begins with "-".
        """
        if requirements:
            raise later("uv_pip_install(requirements=...)")
        names = package_names("uv_pip_install", packages)
        if not names:
            return self
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)
        fields = {"packages": names, "options": options, "uv_version": uv_version or ""}
        return self._with("uv_pip_install", fields, env, secrets=secrets, gpu=gpu, force_build=force_build)

    def apt_install(
        self,
        *packages: Packages,
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: object = None,
        gpu: object = None,
    ) -> Image:
        """Install Debian packages. Arguments are as in :meth:`pip_install`."""
        names = package_names("apt_install", packages)
        if not names:
            return self
        return self._with("apt_install", {"packages": names}, env, secrets=secrets, gpu=gpu, force_build=force_build)

    def run_commands(
        self,
        *commands: Packages,
        env: dict[str, str | None] | None = None,
        secrets: object = None,
        volumes: object = None,
        gpu: object = None,
        force_build: bool = False,
    ) -> Image:
        """Run shell commands, each a layer of its own. Arguments are as in :meth:`pip_install`."""
        lines = flatten("run_commands", commands)
        if not lines:
            return self
        if volumes:
            raise later("run_commands(volumes=...)")
        return self._with("run_commands", {"commands": lines}, env, secrets=secrets, gpu=gpu, force_build=force_build)

    def env(self, vars: dict[str, str]) -> Image:  # noqa: A002 - the name is part of the public surface
        """Set environment variables for later steps and the containers."""
        if not isinstance(vars, dict) or not all(isinstance(value, str) for value in vars.values()):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError("Image.env: want a dict of str to str")
        return self._with("env", {"variables": check_variables("Image.env", dict(vars))})

    def workdir(self, path: str | PathLike[str]) -> Image:
        """Set the working directory of later steps and the containers."""
        return self._with("workdir", {"path": absolute("workdir", os.fspath(path))})

    # Local files.

    def add_local_file(self, local_path: str | PathLike[str], remote_path: str, *, copy: bool = False) -> Image:
        """Put a local file into the containers.

        Args:
            local_path: the file; read when the app runs.
            remote_path: absolute; with "/" at its end the file keeps its name.
            copy: False: mounted read-only when a container starts, so that a change rebuilds nothing; no build step may follow.
                True: copied into the image as a layer.
        """
        remote = absolute("add_local_file", remote_path, keep_slash=True)
        if remote.endswith("/"):
            remote += os.path.basename(local_path)
        return self._add(LocalFile(os.fspath(local_path), remote), copy)

    def add_local_dir(
        self,
        local_path: str | PathLike[str],
        remote_path: str,
        *,
        copy: bool = False,
        ignore: Ignore = (),
    ) -> Image:
        """Put a local folder into the containers.

        Args:
            local_path: the folder; read when the app runs.
            remote_path: absolute.
            copy: as in :meth:`add_local_file`.
            ignore: what to leave out: patterns as in ``.dockerignore``, a FilePatternMatcher, or a function that is given the path
                relative to the folder.
        """
        return self._add(LocalDir(os.fspath(local_path), absolute("add_local_dir", remote_path), ignore), copy)

    def add_local_python_source(self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES) -> Image:
        """Make local Python modules importable in the containers, by putting their source below /root.

        Args:
            modules: names of importable modules or packages.
            copy: as in :meth:`add_local_file`.
            ignore: as in :meth:`add_local_dir`; default: everything but ``.py`` files.

        Raises ModuleNotMountable, when the app runs, for a module that has no source.
        """
        image = self
        for module in modules:
            if not isinstance(module, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidError(f"add_local_python_source: want names of modules, got {type(module).__name__}")
            image = image._add(LocalPythonSource(module, ignore), copy)
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

    # Inside the package.

    def _with(
        self,
        kind: str,
        fields: dict[str, Any],
        env: dict[str, str | None] | None = None,
        *,
        secrets: object = None,
        gpu: object = None,
        force_build: bool = False,
    ) -> Self:
        if secrets:
            raise later(f"{kind}(secrets=...)")
        if gpu:
            raise later(f"{kind}(gpu=...)")
        if self._mounts:
            raise InvalidError(
                f"image: {kind} can't follow add_local_* without copy=True, which must come last; "
                "move it before, or use copy=True to bake the files into the image"
            )
        step = Step(kind, fields, check_variables(f"{kind}: env", env or {}), force_build)
        return Image._make(self._python_version, (*self._steps, step), ())  # pyright: ignore[reportReturnType]

    def _add(self, files: LocalFiles, copy: bool) -> Image:
        if copy:
            return self._with("add_local", {"files": files})
        return Image._make(self._python_version, self._steps, (*self._mounts, files))

    def _raise_captured(self) -> None:
        """Raise what ``imports()`` swallowed: called in a container of this image before its function runs."""
        if self._captured:
            raise self._captured[0]

    def __repr__(self) -> str:
        calls = [
            f"skerry.Image.debian_slim({self._python_version!r})",
            *map(repr, self._steps),
            *map(repr, self._mounts),
        ]
        return ".".join(calls)

    def hydrate(self, client: object = None) -> Self:
        """Return the image. Raises ExecutionError unless an app that uses it has run: images are built by apps."""
        if self.object_id is None:
            raise ExecutionError("the image has not been built; it is when an app that uses it runs or is deployed")
        return self

    def __getattr__(self, name: str) -> Any:
        if name in _LATER:
            raise later(f"Image.{name}")
        raise AttributeError(f"'Image' object has no attribute {name!r}")


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


_LATER = frozenset(
    [
        "pip_install_private_repos",
        "pip_install_from_requirements",
        "pip_install_from_pyproject",
        "uv_sync",
        "poetry_install_from_file",
        "micromamba_install",
        "run_function",
        "dockerfile_commands",
        "entrypoint",
        "shell",
        "cmd",
        "build",
        "publish",
        "logs",
    ]
)
_LATER_BASES = [
    "from_registry",
    "from_gcp_artifact_registry",
    "from_aws_ecr",
    "from_dockerfile",
    "from_scratch",
    "micromamba",
    "from_id",
    "from_name",
]


def _later_base(name: str) -> Callable[..., Image]:
    def base(*_args: object, **_kwargs: object) -> Image:
        raise later(f"Image.{name}")

    base.__name__ = name
    base.__doc__ = "Not available yet."
    return base


for _name in _LATER_BASES:
    setattr(Image, _name, staticmethod(_later_base(_name)))
