"""Local files in images."""

from __future__ import annotations

import os

from skerry.exception import InvalidError

from .arguments import absolute
from .layers import Layers, builder
from .local import LocalDir, LocalFile, LocalPythonSource
from .patterns import NON_PYTHON_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Self

    from .patterns import Ignore


class LocalSteps(Layers):
    """Methods of Image that add local files."""

    __slots__ = ()

    @builder
    def add_local_file(self, local_path: str | PathLike[str], remote_path: str, *, copy: bool = False) -> Self:
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

    @builder
    def add_local_dir(
        self,
        local_path: str | PathLike[str],
        remote_path: str,
        *,
        copy: bool = False,
        ignore: Ignore = (),
    ) -> Self:
        """Put a local folder into the containers.

        Args:
            local_path: the folder; read when the app runs.
            remote_path: absolute.
            copy: as in :meth:`add_local_file`.
            ignore: what to leave out: patterns as in ``.dockerignore``, a FilePatternMatcher, or a function that is given the path
                relative to the folder.
        """
        return self._add(LocalDir(os.fspath(local_path), absolute("add_local_dir", remote_path), ignore), copy)

    @builder
    def add_local_python_source(self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES) -> Self:
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
