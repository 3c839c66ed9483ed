"""Finds the app, function or entrypoint that a reference such as ``file.py::name`` or ``-m pkg.mod::name`` means."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from skerry._objects.app import App
from skerry._objects.cls import Cls
from skerry._objects.entrypoint import LocalEntrypoint
from skerry._objects.function import Function

from .runnables import MethodReference, Target

if TYPE_CHECKING:
    from types import ModuleType

    from .runnables import Runnable


def find_runnable(reference: str, *, as_module: bool) -> Target:
    """Return what ``skerry run`` is to run.

    Without a name: the module's local entrypoint, or else its function or method, or else what the app has of these; there must be one
    of the first kind that there is any of.
    """
    source, name = split(reference)
    module = load(source, as_module=as_module)
    if name:
        found = _resolve(module, name, source)
        if isinstance(found, App):
            return _only(_entrypoints(found) or _functions(found), f"app {name!r} of {source}", f"{reference}.")
        if isinstance(found, Cls):
            return _only([*_methods(found)], f"class {name!r} of {source}", f"{source}::")
        return _target(found)
    values = _unique(vars(module).values())
    entrypoints: list[Runnable] = [value for value in values if isinstance(value, LocalEntrypoint)]
    functions = [runnable for value in values for runnable in _runnables(value)]
    apps = [value for value in values if isinstance(value, App)]
    candidates = (
        entrypoints
        or functions
        or [runnable for app in apps for runnable in _entrypoints(app)]
        or [runnable for app in apps for runnable in _functions(app)]
    )
    if not candidates:
        raise typer.BadParameter(f"{source} has no app with a function; make one with skerry.App() and @app.function()")
    return _only(candidates, source, f"{source}::")


def find_service(reference: str, *, as_module: bool) -> Function[..., Any]:
    """Return the function whose container is meant: the one named, or that of the class or method named, or the only one there is."""
    source, name = split(reference)
    module = load(source, as_module=as_module)
    if name:
        found = _resolve(module, name, source)
        services = _services(found)
        if not services:
            raise typer.BadParameter(f"{name!r} of {source} runs in no container (it is a {type(found).__name__})")
    else:
        values = _unique(vars(module).values())
        services = [s for value in values if not isinstance(value, App) for s in _services(value)]
        services = services or [s for value in values for s in _services(value)]
    unique: list[Function[..., Any]] = _unique(services)
    if not unique:
        raise typer.BadParameter(f"{source} has no app with a function; make one with skerry.App() and @app.function()")
    if len(unique) > 1:
        raise _several(source, [f"{source}::{service.name}" for service in unique])
    return unique[0]


def find_app(reference: str, *, as_module: bool) -> App:
    """Return what ``skerry deploy`` is to deploy: the app named, the variable ``app``, or the only app there is."""
    source, name = split(reference)
    module = load(source, as_module=as_module)
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


def split(reference: str) -> tuple[str, str]:
    """Return the file or module of a reference, and the name in it, which may be ""."""
    source, separator, name = reference.partition("::")
    if not separator and ":" in reference[2:]:
        raise typer.BadParameter(f"{reference!r}: use '::' between the file and the name, as in file.py::name")
    if separator and not name:
        raise typer.BadParameter(f"{reference!r}: a name is missing after '::'")
    return source, name


def load(source: str, *, as_module: bool) -> ModuleType:
    """Import a file or module as Python itself does."""
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
        module_like = all(part.isidentifier() for part in source.split(".")) and not os.path.exists(source)
        hint = f"; a module is named with `-m {source}`" if module_like else ""
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
        known = _parts(found)
        if part not in known:
            where = source if found is module else f"{name.rpartition('.' + part)[0]!r} of {source}"
            runnable = [key for key, value in known.items() if isinstance(value, _NAMED)]
            raise typer.BadParameter(f"{where} has no {part!r}; it has: {', '.join(runnable) or 'nothing to run'}")
        found = known[part]
    return found


def _parts(owner: Any) -> dict[str, Any]:
    """Return what a name after a dot, or after "::", can mean. Functions go by their own name as well as by the variable's."""
    if isinstance(owner, App):
        items = {runnable.name: runnable for runnable in _functions(owner) if isinstance(runnable, Function)}
        return {**items, **owner.registered_classes, **owner.registered_entrypoints}
    if isinstance(owner, Cls):
        return {method.method: method for method in _methods(owner)}
    variables: dict[str, Any] = getattr(owner, "__dict__", {})
    apps = [value for value in variables.values() if isinstance(value, App)]
    return {**{key: value for app in apps for key, value in _parts(app).items()}, **variables}


def _target(found: object) -> Target:
    match found:
        case MethodReference():
            app = found.cls._service._app
        case LocalEntrypoint():
            app = found.app
        case Function():
            app = found._app
        case _:
            raise typer.BadParameter(
                f"a {type(found).__name__} can't be run; name a function or local entrypoint of an app"
            )
    if app is None:
        raise typer.BadParameter(
            f"{found.name} belongs to no app here: it was looked up by name, or changed by with_options()"
        )
    return Target(app, found)


def _only(candidates: list[Runnable], source: str, prefix: str) -> Target:
    if not candidates:
        raise typer.BadParameter(f"{source} has nothing to run")
    if len(candidates) > 1:
        raise _several(source, [f"{prefix}{item.name}" for item in candidates])
    return _target(candidates[0])


def _several(source: str, references: list[str]) -> typer.BadParameter:
    return typer.BadParameter("\n  ".join([f"{source} has several; say which:", *references]))


def _entrypoints(app: App) -> list[Runnable]:
    return list(app.registered_entrypoints.values())


def _functions(app: App) -> list[Runnable]:
    values: list[Any] = [*app.registered_functions.values(), *app.registered_classes.values()]
    return [runnable for value in values for runnable in _runnables(value)]


def _runnables(value: Any) -> list[Runnable]:
    """Return the functions and methods that a value of a module is or has, those that belong to an app here."""
    if isinstance(value, Function) and value._app is not None and value._cls is None:
        return [value]
    if isinstance(value, Cls) and value._user_cls is not None and value._service._app is not None:
        return [*_methods(value)]
    return []


def _methods(cls: Cls) -> list[MethodReference]:
    return [MethodReference(cls, method) for method in cls._methods()] if cls._user_cls is not None else []


def _services(value: object) -> list[Function[..., Any]]:
    """Return the functions in whose containers the code of a value runs."""
    match value:
        case App():
            return [
                s
                for item in (*value.registered_functions.values(), *value.registered_classes.values())
                for s in _services(item)
            ]
        case Cls():
            return _services(value._service)
        case MethodReference():
            return _services(value.cls)
        case Function() if value._app is not None:
            return [value]
        case _:
            return []


_NAMED = (App, Cls, Function, LocalEntrypoint, MethodReference)


def _unique(values: Any) -> list[Any]:
    return list({id(value): value for value in values}.values())
