"""Values and exceptions that make trouble on their way."""

import sys
import threading
import types
from typing import Any

import skerry

app = skerry.App("conformance-values")


def _raise(text: str, kind: str) -> Any:
    raise {"attribute": AttributeError, "key": KeyError}[kind](text)


class Unreadable:
    """Is written here; to read it raises an error."""

    def __init__(self, text: str, kind: str) -> None:
        self.args = (text, kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, self.args


class OnlyHere:
    """Is written here, and needs a module that is missing there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_a_missing_module, ()


def _of_a_missing_module() -> Any:
    raise ModuleNotFoundError("No module named 'only_here'", name="only_here")


@app.function()
def take(*_args: Any, **_kwargs: Any) -> str:
    return "taken"


@app.function()
def only_there() -> Any:
    """Returns something of a module that is only there in the container."""
    module = types.ModuleType("only_there")
    exec("class Thing: pass", module.__dict__)
    module.Thing.__module__ = "only_there"
    sys.modules["only_there"] = module
    return module.Thing()


@app.function()
def unpicklable() -> Any:
    return threading.Lock()


class Locked(Exception):
    """Can't be pickled."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class OnlyReadableThere(Exception):
    """Can be pickled in the container, and not be read here."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse_here, ()


def _refuse_here() -> Exception:
    if skerry.is_local():
        raise RuntimeError("not readable here")
    return OnlyReadableThere()


@app.function()
def fail(kind: str) -> None:
    if kind == "locked":
        raise Locked
    if kind == "only there":
        raise OnlyReadableThere
    if kind == "relative":
        raise ImportError("attempted relative import with no known parent package")
    if kind == "cuda":
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
    if kind == "long":
        raise ValueError("x" * (3 << 20))
    if kind == "cause":
        try:
            raise KeyError("first")
        except KeyError as err:
            raise ValueError("second") from err


class Attributed(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return _attributed, (self.code, self.detail)


def _attributed(code: int, detail: str) -> Attributed:
    return Attributed(code, detail=detail)


@app.function()
def fail_with_attributes() -> None:
    raise Attributed(7, detail="more")
