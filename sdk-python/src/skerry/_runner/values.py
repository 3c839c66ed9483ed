"""Arguments and results as bytes: pickles, or CBOR where the caller is of another language."""

from __future__ import annotations

# The C module alone: the pickle module around it imports re and more.
try:
    from _pickle import dumps, loads
except ImportError:
    from pickle import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 4
PICKLE, CBOR = 1, 2


def load_arguments(data: bytes | bytearray, format_: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the (args, kwargs) of an input. Raises DeserializationError, which names a missing module."""
    if format_ != PICKLE:
        return _load_plain(data, format_)
    try:
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = loads(data) if data else ((), {})
        args, kwargs = arguments
    except Exception as err:
        raise _unreadable(err, "the arguments") from err
    return args, kwargs


def _load_plain(data: bytes | bytearray, format_: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    from skerry.exception import DeserializationError

    if format_ != CBOR:
        raise DeserializationError(
            f"the arguments have the format {format_}; this runner reads pickles (1) and CBOR (2)"
        )
    from skerry import _cbor

    try:
        arguments: tuple[list[Any], dict[str, Any]] = _cbor.loads(data) if data else ([], {})
        args, kwargs = arguments
        return tuple(args), {str(name): value for name, value in kwargs.items()}
    except Exception as err:
        raise DeserializationError(f"the arguments can't be read: {err}") from err


def load_function(data: bytes | bytearray) -> Any:
    """Return a serialized function. Raises DeserializationError, which names a missing module."""
    try:
        return loads(data)
    except Exception as err:
        raise _unreadable(err, "the serialized function") from err


def _unreadable(err: Exception, what: str) -> Exception:
    from skerry.exception import DeserializationError

    if isinstance(err, ModuleNotFoundError):
        return DeserializationError(
            f"{what} can't be unpickled: it needs the module {err.name!r}, which is not in the remote environment; "
            "add it to the image, or send plain values"
        )
    if isinstance(err, AttributeError):
        hint = "do both sides have the same versions of the library that defines it?"
        if "_make_function" in str(err):
            hint = "are the Python versions of the two sides the same?"
        return DeserializationError(f"{what} can't be unpickled: {err}; {hint}")
    return DeserializationError(f"{what} can't be unpickled: {type(err).__name__}: {err}")


def dump(value: Any) -> bytes:
    """Return the pickle of a value, by cloudpickle where plain pickle can't. Raises what cloudpickle raises."""
    try:
        return dumps(value, PROTOCOL)
    except Exception:
        import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

        by_value: Any = cloudpickle
        return by_value.dumps(value, PROTOCOL)


def dump_result(value: Any, format_: int = PICKLE) -> bytes:
    """Return a result in the format that its arguments had. Raises SerializationError."""
    if format_ != PICKLE:
        return _dump_plain(value)
    try:
        return dump(value)
    except Exception as err:
        from skerry.exception import SerializationError

        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        hint = ""
        if kind in ("generator", "async_generator"):
            hint = "; generator functions are not supported, return a list instead"
        raise SerializationError(
            f"the result, of type {kind}, can't be pickled: {type(err).__name__}: {err}{hint}"
        ) from err


def _dump_plain(value: Any) -> bytes:
    from skerry import _cbor

    try:
        return _cbor.dumps(value)
    except Exception as err:
        from skerry.exception import SerializationError

        raise SerializationError(f"the result can't be sent as CBOR: {err}") from err
