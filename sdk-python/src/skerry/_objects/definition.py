"""What ``@app.function`` and ``@app.cls`` make of what they decorate."""

from __future__ import annotations

from skerry._context import is_local
from skerry._names import check_name
from skerry.exception import InvalidError

from .cls import Cls, has_constructor, parameters
from .entrypoint import LocalEntrypoint
from .function import Function, yields
from .lifecycle import partials
from .options import function_name
from .partial import ENTER_SNAP, LIFECYCLE, METHOD, PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .app import App
    from .options import FunctionOptions


def define_function(app: App, decorated: Any, name: str | None, options: FunctionOptions) -> Function[..., Any]:
    """Return the function that a decorated one is. Raises InvalidError, or TypeError for a class."""
    marked = decorated if isinstance(decorated, PartialFunction) else None
    raw = decorated if marked is None else marked.raw
    _check_decorated(raw, marked, options)
    generator = options.is_generator if options.is_generator is not None else yields(raw)
    if generator and options.retries is not None:
        raise InvalidError(
            f"function {raw.__qualname__!r} is a generator: what it has yielded can't be taken back, so it takes no retries"
        )
    if options.schedule is not None:
        _check_nullary(raw)
    function: Function[..., Any] = Function(raw, function_name(name, raw), app, options)
    if marked is not None:
        if generator and marked.batching is not None:
            raise InvalidError(f"function {raw.__qualname__!r}: generators can't be batched")
        function._concurrency, function._batching = marked.concurrency, marked.batching
    return function


def define_class(app: App, decorated: Any, options: FunctionOptions) -> Cls:
    """Return the class that a decorated one is. Raises InvalidError, or TypeError for a function."""
    if not isinstance(decorated, type):
        name = getattr(decorated, "__name__", repr(decorated))
        raise TypeError(f"@app.cls can't decorate {name!r}, which is no class; decorate a class, or use @app.function")
    _check_importable(decorated, "class", "@app.cls", options)
    name = check_name("class", decorated.__qualname__.rpartition("<locals>.")[2])
    if partials(decorated, ENTER_SNAP):
        raise InvalidError(
            f"class {name!r}: @skerry.enter(snap=True) needs enable_memory_snapshot=True, which is not available yet"
        )
    batched = _check_methods(name, decorated)
    if parameters(decorated) and "__init__" in vars(decorated):
        raise InvalidError(
            f"class {name!r} has both parameters and a constructor of its own: do the constructor's work in @skerry.enter()"
        )
    if has_constructor(decorated) and is_local():
        _warn_of_constructor(decorated)
    service: Function[..., Any] = Function(None, name, app, options)
    service._generator = False
    service._concurrency = vars(decorated).get("__skerry_concurrency__")
    service._batching = batched
    cls = Cls(decorated, service)
    service._cls = cls
    return cls


def _check_methods(name: str, decorated: type) -> Any:
    """Return how a class's one method is batched, if it is. Raises InvalidError."""
    methods = partials(decorated, METHOD)
    batched = [m for m in methods.values() if m.batching is not None]
    if batched and len(methods) > 1:
        raise InvalidError(
            f"class {name!r}: one with a @skerry.batched method can have no other remote methods, and has {', '.join(methods)}"
        )
    for method in methods.values():
        if method.concurrency is not None:
            raise InvalidError(
                f"{name}.{method.__name__}: @skerry.concurrent belongs on the class, for all its methods"
            )
    return batched[0].batching if batched else None


def _check_decorated(raw: Any, marked: PartialFunction | None, options: FunctionOptions) -> None:
    if isinstance(raw, type):
        raise TypeError(
            f"@app.function can't decorate the class {raw.__name__!r}; decorate a function, or use @app.cls"
        )
    if isinstance(raw, (staticmethod, classmethod, Function, LocalEntrypoint)) or not callable(raw):
        raise InvalidError("@app.function decorates plain functions; put it below other decorators")
    if "__qualname__" not in dir(raw):
        raise InvalidError(f"@app.function decorates functions, got {type(raw).__name__}")
    if marked is not None and marked.marks & LIFECYCLE:
        raise InvalidError(f"{raw.__qualname__}: @skerry.enter and @skerry.exit are for methods of @app.cls() classes")
    if marked is not None and marked.marks & METHOD and marked.batching is None:
        raise InvalidError(
            f"{raw.__qualname__}: @skerry.method is for methods of @app.cls() classes, which @app.function does not decorate"
        )
    _check_importable(raw, "function", "@app.function", options)


def _check_importable(raw: Any, noun: str, decorator: str, options: FunctionOptions) -> None:
    """Raise InvalidError for what a container could not find by its name."""
    if options.serialized:
        return
    if "<locals>" in raw.__qualname__:
        raise InvalidError(
            f"{noun} {raw.__qualname__!r} is not at the top of its module, so a container can't find it; "
            f"move it there or use {decorator}(serialized=True)"
        )
    if getattr(raw, "__name__", "") == "<lambda>":
        raise InvalidError(
            f"a lambda has no name that a container could find it by; use def, or {decorator}(serialized=True)"
        )
    if "." in raw.__qualname__:
        what = "is a method; @app.function decorates functions" if noun == "function" else "is inside another class"
        raise InvalidError(f"{noun} {raw.__qualname__!r} {what}")


def _check_nullary(raw: Any) -> None:
    """Raise InvalidError for a function that can't be called without arguments."""
    code = getattr(raw, "__code__", None)
    if code is None:
        return
    without = code.co_argcount - len(raw.__defaults__ or ())
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    missing = [*code.co_varnames[: max(without, 0)], *(n for n in only if n not in (raw.__kwdefaults__ or {}))]
    if missing:
        raise InvalidError(
            f"function {raw.__qualname__!r} has a schedule, so it is called without arguments: {missing[0]!r} needs a default"
        )


def _warn_of_constructor(decorated: type) -> None:
    import warnings

    from skerry.exception import DeprecationError

    warnings.warn(
        f"class {decorated.__name__!r}: a constructor of its own is deprecated; declare parameters with skerry.parameter() "
        "and do the work in an @skerry.enter() method",
        DeprecationError,
        stacklevel=4,
    )
