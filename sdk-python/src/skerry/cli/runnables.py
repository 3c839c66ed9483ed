"""What ``skerry run`` can run: local entrypoints, functions, and methods of classes, whose parameters are pooled with the class's."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from skerry._objects.cls import Cls, has_constructor, parameters
from skerry._objects.entrypoint import LocalEntrypoint
from skerry._objects.function import Function
from skerry._objects.lifecycle import methods
from skerry.exception import InvalidError

from .parameters import annotated, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry._objects.app import App

_TYPES = {1: str, 2: int, 3: bytes, 4: bool}


class MethodReference(NamedTuple):
    """A remote method of a class."""

    cls: Cls
    method: str

    @property
    def name(self) -> str:
        """The name that a reference uses."""
        return f"{self.cls.__name__}.{self.method}"


Runnable: TypeAlias = LocalEntrypoint[..., Any] | Function[..., Any] | MethodReference


class Target(NamedTuple):
    """What is to be run, and the app that it belongs to."""

    app: App
    runnable: Runnable


def call(target: Target, arguments: list[str], prog_name: str) -> Callable[[bool], Any] | None:
    """Return what runs the target with arguments of the command line, or None if only its help was shown.

    It is called while the app runs, with whether the run is detached: then the call is spawned, so that it survives this process.
    Raises InvalidError for what can't be run from a command line.
    """
    runnable = target.runnable
    if isinstance(runnable, LocalEntrypoint):
        return _call_entrypoint(runnable, arguments, prog_name)
    if isinstance(runnable, Function):
        _check_kind(runnable.name, is_generator=runnable.is_generator)
        raw = runnable.get_raw_f()
        parsed = parse(annotated(raw), inspect.getdoc(raw), arguments, prog_name)
        return None if parsed is None else lambda detach: _remote(runnable, *parsed, detach=detach)
    return _call_method(runnable, arguments, prog_name)


def _call_entrypoint(
    entrypoint: LocalEntrypoint[..., Any], arguments: list[str], prog_name: str
) -> Callable[[bool], Any] | None:
    raw = entrypoint.get_raw_f()
    parsed = parse(annotated(raw), inspect.getdoc(raw), arguments, prog_name)
    if parsed is None:
        return None
    args, kwargs = parsed

    def run(_detach: bool) -> Any:
        result = raw(*args, **kwargs)
        if inspect.iscoroutine(result):
            import asyncio

            return asyncio.run(result)
        return result

    return run


def _call_method(method: MethodReference, arguments: list[str], prog_name: str) -> Callable[[bool], Any] | None:
    user_cls = method.cls._user_cls
    assert user_cls is not None  # noqa: S101 - it is in an app
    _check_kind(method.name, is_generator=method.cls._methods()[method.method])
    raw = methods(user_cls)[method.method]
    own = annotated(raw)[1:]  # without self
    of_class = _constructor(user_cls)
    pooled = {parameter.name: parameter for parameter in (*of_class, *own)}
    parsed = parse(list(pooled.values()), inspect.getdoc(raw) or inspect.getdoc(user_cls), arguments, prog_name)
    if parsed is None:
        return None
    args, given = parsed

    def run(detach: bool) -> Any:
        instance = method.cls(**_of(of_class, given))
        return _remote(getattr(instance, method.method), args, _of(own, given), detach=detach)

    return run


def _of(wanted: list[inspect.Parameter], given: dict[str, Any]) -> dict[str, Any]:
    return {parameter.name: given[parameter.name] for parameter in wanted if parameter.name in given}


def _remote(function: Function[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, detach: bool) -> Any:
    return function.spawn(*args, **kwargs).get() if detach else function.remote(*args, **kwargs)


def _constructor(user_cls: type) -> list[inspect.Parameter]:
    if has_constructor(user_cls):
        return annotated(user_cls.__init__)[1:]  # without self
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_TYPES[kind],
            default=inspect.Parameter.empty if parameter.required else parameter.default,
        )
        for name, (kind, parameter) in parameters(user_cls).items()
    ]


def _check_kind(name: str, *, is_generator: bool) -> None:
    if is_generator:
        raise InvalidError(
            f"{name} is a generator, which `skerry run` can't run; call {name}.remote_gen() from a local entrypoint"
        )
