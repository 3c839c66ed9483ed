"""Lets programs that were written for Modal run as they are: ``import modal`` gives Skerry.

``install()`` puts a finder in front of all others, so that ``modal`` is this package and ``modal.x`` is ``skerry.x``: the same modules
under another name, so that their classes are the same. Nothing happens unless it is called: by ``skerry run --modal``, by the distribution
skerry-modal, and in the containers of functions that were defined so.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib import ModuleSpec  # pyright: ignore - containers start without importlib.machinery

import skerry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)  # without importing types, which containers do without

# Modules of the reference that later versions bring. They can be imported, and what is in them says so where it is used.
_LATER = frozenset(
    {
        "billing",
        "cloud_bucket_mount",
        "environments",
        "network_file_system",
        "proxy",
        "scheduler_placement",
        "volume",
    }
)

# Modules whose names are those of what they define: that is in the package itself.
_INSIDE = {
    "app": {"App"},
    "client": {"Client"},
    "cls": {"Cls"},
    "functions": {"Function", "FunctionCall"},
    "dict": {"Dict"},
    "image": {"Image"},
    "partial_function": {"batched", "concurrent", "enter", "exit", "method"},
    "queue": {"Queue"},
    "secret": {"Secret"},
}

# Variables that say where Modal is and who one is there, which is nothing that Skerry's server may learn.
_OTHERS = frozenset({"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL", "MODAL_PROFILE", "MODAL_CONFIG_PATH"})


class _Finder:
    """Finds ``modal`` and what is in it; both a finder and the loader of what it finds."""

    def __init__(self) -> None:
        self._specs: dict[str, Any] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """Return how to import a module of that name; None where it is none of ours."""
        if name != "modal" and not name.startswith("modal."):
            return None
        return ModuleSpec(name, self, is_package=name == "modal")  # pyright: ignore[reportArgumentType]

    def create_module(self, spec: Any) -> ModuleType:
        """Return the module of Skerry. Raises ImportError, which names what is missing."""
        _, _, rest = spec.name.partition(".")
        module = skerry if not rest else _submodule(spec.name, rest)
        self._specs[spec.name] = module.__spec__ or spec
        return module

    def get_code(self, name: str) -> Any:
        """Return a module's code, for ``python -m modal``."""
        from importlib.util import find_spec

        spec: Any = find_spec(name.replace("modal", "skerry", 1))
        return spec.loader.get_code(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own name's spec back: it has run already."""
        spec: Any = module.__spec__
        module.__spec__ = self._specs.pop(spec.name, spec)


def _submodule(name: str, rest: str) -> ModuleType:
    top = rest.partition(".")[0]
    if top.startswith("_"):
        raise ImportError(f"{name} is internal to Modal's SDK, and Skerry has no such module", name=name)
    try:
        __import__(f"skerry.{rest}")
    except ModuleNotFoundError as err:
        if err.name not in {f"skerry.{rest}", f"skerry.{top}"}:
            raise
        if rest in _INSIDE or rest in _LATER:
            return _Part(rest)
        raise ModuleNotFoundError(f"{name}: skerry has no module {rest!r}", name=name) from None
    return sys.modules[f"skerry.{rest}"]


class _Part(ModuleType):
    """A module that Skerry does not have: names of the package itself, or names of what a later version brings."""

    def __getattr__(self, name: str) -> object:
        known = _INSIDE.get(self.__name__)
        if name.startswith("_") or (known is not None and name not in known):
            raise AttributeError(f"module 'modal.{self.__name__}' has no attribute {name!r}")
        try:
            return getattr(skerry, name)
        except AttributeError:
            from ._later import later

            return later(f"{self.__name__}.{name}")


def installed() -> bool:
    """Tell whether ``import modal`` gives Skerry in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install() -> None:
    """Have ``import modal`` give Skerry from now on, and take settings from MODAL_* variables where there is no SKERRY_* one.

    Tokens and addresses are left out: they belong to Modal's service.
    """
    if installed():
        return
    for name in [name for name in sys.modules if name == "modal" or name.startswith("modal.")]:
        del sys.modules[name]  # what was imported before is another SDK
    sys.meta_path.insert(0, _Finder())  # pyright: ignore[reportArgumentType]
    for name in [name for name in os.environ if name.startswith("MODAL_") and name not in _OTHERS]:
        os.environ.setdefault("SKERRY_" + name.removeprefix("MODAL_"), os.environ[name])
