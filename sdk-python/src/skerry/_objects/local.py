"""Local files for containers, as values; :mod:`skerry._run.mounts` reads and sends them when an app runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .patterns import Ignore


class LocalFiles:
    """Local files and the absolute path they get in a container."""

    __slots__ = ("local_path", "remote_path")

    def __init__(self, local_path: str, remote_path: str) -> None:
        self.local_path = local_path
        self.remote_path = remote_path


class LocalFile(LocalFiles):
    """One file."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"add_local_file({self.local_path!r}, {self.remote_path!r})"


class LocalDir(LocalFiles):
    """A folder, without what is ignored."""

    __slots__ = ("ignore",)

    def __init__(self, local_path: str, remote_path: str, ignore: Ignore) -> None:
        super().__init__(local_path, remote_path)
        self.ignore = ignore

    def __repr__(self) -> str:
        return f"add_local_dir({self.local_path!r}, {self.remote_path!r})"


class LocalPythonSource(LocalFiles):
    """A module or package by its name. Where its files are is looked up when they are needed."""

    __slots__ = ("ignore", "module")

    def __init__(self, module: str, ignore: Ignore) -> None:
        super().__init__("", "/root/" + module.replace(".", "/"))
        self.module = module
        self.ignore = ignore

    def __repr__(self) -> str:
        return f"add_local_python_source({self.module!r})"


class LocalContents(LocalFiles):
    """Files by the names that they get, which only a build step sees. A value is the path of a local file, or what is in the file.

    The name "." alone is that of a tree that is one file.
    """

    __slots__ = ("contents",)

    def __init__(self, contents: dict[str, str | bytes]) -> None:
        paths = [path for path in contents.values() if isinstance(path, str)]
        super().__init__(paths[0] if paths else "", "")
        self.contents = contents
