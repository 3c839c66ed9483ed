"""What an input ended with, as the value to return or the exception to raise."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any, TypedDict, cast

from skerry import exception as exc
from skerry._gen.skerry.v1.payload_pb import PayloadFormat, RemoteError, Result, ResultStatus

from .blobs import read_payload
from .serialization import deserialize, deserialize_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .client import Client

_SUCCESS = ResultStatus.SUCCESS


class Chain(TypedDict, total=False):
    """An exception as the runner pickles it, with its causes nested in it the same way."""

    exc: BaseException
    tb: dict[str, Any] | None
    lines: dict[tuple[str, int], str]
    cause: Chain | None
    context: Chain | None
    suppress_context: bool


def unwrap(client: Client, result: Result | None, what: str) -> Any:
    """Return the value of a result or raise what the function raised. ``what`` names the call in messages.

    Raises ExecutionError where a result needs a module that is missing here.
    """
    if result is not None and result.status == _SUCCESS:
        data = read_payload(client, result.value)
        if not data:
            return None
        try:
            if result.value is not None and result.value.format == PayloadFormat.CBOR:
                return deserialize_plain(data, f"the result of {what}")
            return deserialize(data, f"the result of {what}")
        except exc.DeserializationError as err:
            if isinstance(err.__cause__, ModuleNotFoundError):
                raise exc.ExecutionError(str(err)) from err.__cause__
            raise
    raise failure(client, result, what)


def failure(client: Client, result: Result | None, what: str) -> BaseException:
    """Return the exception for a result that is no success."""
    if result is None:
        return exc.InternalError(f"{what}: the server sent an outcome without a result")
    error = result.error or RemoteError()
    message = error.message or f"{what} failed"
    match result.status:
        case ResultStatus.TIMEOUT:
            return exc.FunctionTimeoutError(message)
        case ResultStatus.INTERNAL_FAILURE:
            return exc.InternalFailure(message)
        case ResultStatus.CANCELLED:
            return exc.RemoteError(error.message or f"{what}: the input was cancelled")
        case _:
            return _user_failure(client, error, message)


def is_large(result: Result) -> bool:
    """Tell whether the value or exception has to be downloaded."""
    payload = result.value or (result.error and result.error.exception)
    return payload is not None and payload.content is not None and payload.content.field == "blob"


def _user_failure(client: Client, error: RemoteError, message: str) -> BaseException:
    if error.exception is None:
        # With a type there was an exception, which could not be pickled; without one the process itself ended.
        if error.type:
            return exc.SerializationError(
                f"the remote exception can't be sent as an object: {_describe(error, message)}"
            )
        return exc.RemoteError(_describe(error, message))
    if error.exception.format == PayloadFormat.CBOR:
        return _plain_failure(client, error, message)
    try:
        chain = deserialize(read_payload(client, error.exception), "the remote exception")
    except exc.DeserializationError as local:
        failed = exc.ExecutionError(
            f"Could not deserialize remote exception due to local error: {local}\n{_describe(error, message)}"
        )
        failed.__cause__ = local
        return failed
    rebuilt = _rebuild(cast("Chain", chain)) if isinstance(chain, dict) else None
    if rebuilt is None:
        return exc.ExecutionError(f"the remote exception is no exception here\n{_describe(error, message)}")
    _hint(rebuilt)
    if isinstance(rebuilt, Exception):
        return rebuilt
    # SystemExit and its like would end the caller, who has done nothing to ask for that.
    wrapped = exc.RemoteError(f"the function raised {type(rebuilt).__name__}: {rebuilt}")
    wrapped.__cause__ = rebuilt
    return wrapped


def _plain_failure(client: Client, error: RemoteError, message: str) -> BaseException:
    """Return the exception of a call that a program in another language made: its type if that is Python's own."""
    assert error.exception is not None  # noqa: S101 - the caller has looked
    failed = deserialize_plain(read_payload(client, error.exception), "the remote exception")
    if isinstance(failed, Exception) and not isinstance(failed, exc.RemoteError):
        _note(failed, f"Remote traceback:\n{error.traceback.rstrip()}")
        return failed
    return exc.RemoteError(_describe(error, message))


def _describe(error: RemoteError, message: str) -> str:
    name = error.type.removeprefix("builtins.")
    text = f"{name}: {message}" if name and not message.startswith(name) else message
    return f"{text}\n\nRemote traceback:\n{error.traceback.rstrip()}" if error.traceback else text


def _rebuild(chain: Chain) -> BaseException | None:
    error = chain.get("exc")
    if not isinstance(error, BaseException):
        return None
    _remember_lines(chain.get("lines") or {})
    error.__traceback__ = _traceback(chain.get("tb"))
    cause, context = chain.get("cause"), chain.get("context")
    error.__cause__ = _rebuild(cause) if cause else None
    error.__context__ = _rebuild(context) if context else None
    # After __cause__, which sets it as well.
    error.__suppress_context__ = bool(chain.get("suppress_context"))
    return error


def _traceback(frames: dict[str, Any] | None) -> TracebackType | None:
    if not frames:
        return None
    import tblib

    traceback: Any = tblib.Traceback
    return traceback.from_dict(frames).as_traceback()


def _remember_lines(lines: dict[tuple[str, int], str]) -> None:
    """Let every traceback printer show remote source: they all ask linecache, which keeps entries without a time for good."""
    files: dict[str, dict[int, str]] = {}
    for (file, number), text in lines.items():
        files.setdefault(file, {})[number] = text.rstrip("\n") + "\n"
    for file, known in files.items():
        old = linecache.cache.get(file)
        source: list[str] = list(old[2]) if old is not None and len(old) == 4 else []
        source.extend("\n" for _ in range(max(known) - len(source)))
        for number, text in known.items():
            source[number - 1] = text
        linecache.cache[file] = (sum(map(len, source)), None, source, file)


def _hint(error: BaseException) -> None:
    text = str(error)
    if isinstance(error, ImportError) and "attempted relative import" in text:
        _note(
            error, "hint: a file that uses relative imports has to be run as a module: `skerry run -m package.module`"
        )
    elif isinstance(error, ModuleNotFoundError) and error.name:
        _hint_at_module(error, error.name.partition(".")[0])
    elif isinstance(error, RuntimeError) and "no kernel image is available" in text:
        _note(error, "hint: the CUDA version of the image's libraries does not fit the GPU")


def _hint_at_module(error: ModuleNotFoundError, name: str) -> None:
    """Say how a module that is here, and not in the container, gets there."""
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if "site-packages" in str(spec.origin or spec.submodule_search_locations):
        _note(
            error, f"hint: {name} is installed here, and not in the image: use image.pip_install(...) with its package"
        )
    else:
        source = f"image.add_local_python_source({name!r})"
        _note(error, f"hint: a function brings its own file or package alone: use {source} for the module that is here")


def _note(error: BaseException, note: str) -> None:
    add_note: Callable[[str], None] | None = getattr(error, "add_note", None)  # since Python 3.11
    if add_note is not None:
        add_note(note)
    elif len(error.args) == 1:
        error.args = (f"{error.args[0]}\n{note}",)
