"""Finds the app, function or entrypoint that a reference such as ``file.py::name`` or ``-m pkg.mod::name`` means."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from skerry._objects.app import App
from skerry._objects.entrypoint import LocalEntrypoint
from skerry._objects.function import Function

if TYPE_CHECKING:
    from types import ModuleType


class Target(NamedTuple):
    """What is to be run: an app and its function or entrypoint."""

    app: App
    runnable: Function[..., Any] | LocalEntrypoint[..., Any]


def find_runnable(reference: str, *, as_module: bool) -> Target:
    """Return what ``skerry run`` is to run. Without a name it must be the only one of its kind."""
    source, name = _split(reference)
    module = _import(source, as_module=as_module)
    if name:
        found = _resolve(module, name, source)
        if isinstance(found, App):
            return _only(_of_app(found), f"app {name!r} of {source}")
        if isinstance(found, (Function, LocalEntrypoint)):
            return Target(found.app, found)
        raise typer.BadParameter(
            f"{name!r} of {source} is no app, function or local entrypoint (it is a {type(found).__name__})"
        )
    values = _unique(vars(module).values())
    entrypoints: list[Any] = [value for value in values if isinstance(value, LocalEntrypoint)]
    functions: list[Any] = [value for value in values if isinstance(value, Function) and value._app is not None]
    apps = [value for value in values if isinstance(value, App)]
    if entrypoints or functions:
        return _only(entrypoints or functions, source)
    candidates = [item for app in apps for item in _of_app(app)]
    if candidates:
        return _only(candidates, source)
    raise typer.BadParameter(f"{source} has no app with a function; make one with skerry.App() and @app.function()")


def find_app(reference: str, *, as_module: bool) -> App:
    """Return what ``skerry deploy`` is to deploy: the app named, the variable ``app``, or the only app there is."""
    source, name = _split(reference)
    module = _import(source, as_module=as_module)
    if name:
        found = _resolve(module, name, source)
        if isinstance(found, App):
            return found
        raise typer.BadParameter(f"{name!r} of {source} is no app (it is a {type(found).__name__})")
    apps = [value for value in _unique(vars(module).values()) if isinstance(value, App)]
    if isinstance(getattr(module, "app", None), App):
        return module.app
    if len(apps) == 1:
        return apps[0]
    if not apps:
        raise typer.BadParameter(f"{source} has no app; make one with skerry.App('name')")
    names = ", ".join(key for key, value in vars(module).items() if isinstance(value, App))
    raise typer.BadParameter(f"{source} has several apps ({names}); say which: {source}::NAME")


def _split(reference: str) -> tuple[str, str]:
    source, separator, name = reference.partition("::")
    if not separator and ":" in reference[2:]:
        raise typer.BadParameter(f"{reference!r}: use '::' between the file and the name, as in file.py::name")
    if separator and not name:
        raise typer.BadParameter(f"{reference!r}: a name is missing after '::'")
    return source, name


def _import(source: str, *, as_module: bool) -> ModuleType:
    # As Python itself does: what lies beside a script, or in the current folder, can be imported.
    if as_module:
        if source.endswith(".py") or os.sep in source:
            raise typer.BadParameter(f"-m takes a module such as package.module, not the file {source!r}")
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        if _spec(source) is None:
            raise typer.BadParameter(f"module {source!r} is not importable from {os.getcwd()}")
        return importlib.import_module(source)
    if not source.endswith(".py"):
        hint = f"; a module is run with `-m {source}`" if "/" not in source and not os.path.exists(source) else ""
        raise typer.BadParameter(f"{source!r} is no Python file{hint}")
    if not os.path.isfile(source):
        raise typer.BadParameter(f"file {source!r} does not exist")
    path = os.path.abspath(source)
    name = os.path.basename(path)[: -len(".py")]
    if "." in name:
        raise typer.BadParameter(
            f"file {os.path.basename(path)!r}: a name with further dots can't be imported; rename it"
        )
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise typer.BadParameter(f"file {source!r} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _spec(module: str) -> object:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError as err:
        # A parent that is not there is the same to the user; a failing import inside one is not.
        if err.name and (module == err.name or module.startswith(err.name + ".")):
            return None
        raise


def _resolve(module: ModuleType, name: str, source: str) -> object:
    found: Any = module
    for part in name.split("."):
        if isinstance(found, App):
            items = {**found.registered_functions, **found.registered_entrypoints}
            if part not in items:
                raise typer.BadParameter(
                    f"the app of {source} has no {part!r}; it has: {', '.join(items) or 'nothing'}"
                )
            found = items[part]
        elif hasattr(found, part):
            found = getattr(found, part)
        else:
            # Functions go by their own name as well, which may differ from the variable's.
            by_name = [
                item
                for app in vars(module).values()
                if isinstance(app, App)
                for item in _of_app(app)
                if item.name == part
            ]
            if not by_name:
                raise typer.BadParameter(
                    f"{source} has no {part!r}; it has: {', '.join(_names(module)) or 'nothing to run'}"
                )
            found = by_name[0]
    return found


def _only(candidates: list[Any], source: str) -> Target:
    entrypoints: list[Any] = [item for item in candidates if isinstance(item, LocalEntrypoint)]
    chosen = entrypoints or candidates
    if not chosen:
        raise typer.BadParameter(f"{source} has no function")
    if len(chosen) > 1:
        lines = "\n".join(f"  {source}::{item.name}" for item in chosen)
        raise typer.BadParameter(f"{source} has several things to run; say which:\n{lines}")
    return Target(chosen[0].app, chosen[0])


def _of_app(app: App) -> list[Any]:
    return [*app.registered_entrypoints.values(), *app.registered_functions.values()]


def _names(module: ModuleType) -> list[str]:
    return [key for key, value in vars(module).items() if isinstance(value, (App, Function, LocalEntrypoint))]


def _unique(values: Any) -> list[Any]:
    return list({id(value): value for value in values}.values())
