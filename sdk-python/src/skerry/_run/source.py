"""What source a function needs in its containers, and what its module is called there."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from skerry._notebook import is_of_a_cell
from skerry._objects.local import LocalDir, LocalFile, LocalFiles, LocalPythonSource
from skerry._objects.patterns import FilePatternMatcher
from skerry.exception import InvalidError, ModuleNotMountable

if TYPE_CHECKING:
    from types import ModuleType

# Where user code is in a container: the first entry of its sys.path.
ROOT = "/root"

# What is never part of a package's source.
PACKAGE_IGNORE = FilePatternMatcher("**/*.pyc", "**/__pycache__", "**/.*")

_BINARY = (".so", ".s", ".S", ".asm")


class Source(NamedTuple):
    """A function's module, its name there, and the files to mount. The module is "" for a function that is sent by value."""

    module: str
    qualname: str
    files: list[LocalFiles]


def find_source(raw: Any, *, serialized: bool, include: bool) -> Source:
    """Find what a decorated function needs.

    A function of a package brings the whole top-level package, one of a plain script just that file. Raises InvalidError for a function
    that a container could not import.
    """
    module = sys.modules.get(raw.__module__)
    file = getattr(module, "__file__", None)
    if serialized or module is None or file is None or is_of_a_cell(raw):
        # Without a file there is nothing to import: a notebook or a console.
        return Source("", raw.__qualname__, [])
    name = module_name(module, file)
    if not include:
        return Source(name, raw.__qualname__, [])
    top = name.partition(".")[0]
    if "." in name or hasattr(module, "__path__"):
        return Source(name, raw.__qualname__, _package(top))
    return Source(name, raw.__qualname__, [LocalFile(os.path.abspath(file), f"{ROOT}/{name}.py")])


def module_name(module: ModuleType, file: str) -> str:
    """Return what a module is called where it is imported: the main script by its file's name."""
    if module.__name__ != "__main__":
        return module.__name__
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    stem, extension = os.path.splitext(os.path.basename(file))
    if extension != ".py" or "." in stem or not stem.isidentifier():
        raise InvalidError(
            f"file {os.path.basename(file)!r}: a script with functions needs a name that can be imported, such as my_app.py"
        )
    return stem


def alias_main() -> None:
    """Let what comes back from containers find the main script's classes under the name they have there."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is None or file is None or not file.endswith(".py"):
        return
    spec = getattr(main, "__spec__", None)
    name = spec.name if spec is not None else os.path.splitext(os.path.basename(file))[0]
    sys.modules.setdefault(name, main)


def find_module(source: LocalPythonSource) -> list[LocalFiles]:
    """Return the files of a module by its name. Raises ModuleNotMountable if it has no source, or binary parts."""
    try:
        spec = importlib.util.find_spec(source.module)
    except (ImportError, ValueError) as err:
        raise ModuleNotMountable(f"module {source.module!r}: {err}") from err
    if spec is None:
        raise ModuleNotMountable(f"module {source.module!r} is not importable here")
    if spec.submodule_search_locations is not None:
        files: list[LocalFiles] = []
        for path in spec.submodule_search_locations:
            _refuse_binary(source.module, path)
            files.append(LocalDir(path, source.remote_path, source.ignore))
        return files
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise ModuleNotMountable(f"module {source.module!r} has no Python source (it is {spec.origin or 'built in'})")
    return [LocalFile(spec.origin, source.remote_path + ".py")]


def _package(top: str) -> list[LocalFiles]:
    package = sys.modules.get(top)
    paths = list(getattr(package, "__path__", []))
    if not paths:
        raise InvalidError(f"package {top!r} has no folder here; use include_source=False and put it into the image")
    return [LocalDir(path, f"{ROOT}/{top}", PACKAGE_IGNORE) for path in paths]


def _refuse_binary(module: str, path: str) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            if name.endswith(_BINARY):
                raise ModuleNotMountable(
                    f"module {module!r} has binary parts ({os.path.join(folder, name)}), which fit this machine only; "
                    "install it in the image with pip_install"
                )
