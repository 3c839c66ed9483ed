"""Values to bytes and back: pickles of protocol 4, and what programs in other languages send."""

from __future__ import annotations

import pickle
import sys
from typing import Any

from skerry._context import is_local
from skerry.exception import DeserializationError, Error, SerializationError

PROTOCOL = 4


def serialize(value: Any, what: str = "the value") -> bytes:
    """Return the pickle of a value, made in C where possible and by cloudpickle otherwise.

    Raises SerializationError, which names ``what``.
    """
    try:
        data = pickle.dumps(value, PROTOCOL)
        # What the main script defines is called __main__ here and something else in a container: cloudpickle sends it by value.
        if b"__main__" not in data:
            return data
    except Error:
        raise
    except Exception:  # noqa: S110 - cloudpickle takes far more, and says better what it does not take
        pass
    return serialize_by_value(value, what)


def serialize_by_value(value: Any, what: str = "the value") -> bytes:
    """Return cloudpickle's pickle of a value, which holds functions and classes of the main script whole."""
    import cloudpickle

    pickler: Any = cloudpickle
    try:
        return pickler.dumps(value, protocol=PROTOCOL)
    except Error:
        raise
    except Exception as err:
        raise SerializationError(f"{what} can't be pickled: {type(err).__name__}: {err}") from err


def pickle_whole(raw: Any, what: str) -> bytes:
    """Return the pickle of a function or class with all that it is made of, even where its module could be imported here.

    Raises SerializationError, which names ``what``.
    """
    import cloudpickle

    pickler: Any = cloudpickle
    module = sys.modules.get(raw.__module__)
    by_value = module is not None and module.__name__ != "__main__"
    if by_value:
        pickler.register_pickle_by_value(module)
    try:
        return serialize_by_value(raw, what)
    finally:
        if by_value:
            pickler.unregister_pickle_by_value(module)


def deserialize(data: bytes | memoryview | bytearray, what: str = "the value") -> Any:
    """Return the value of a pickle.

    Raises DeserializationError, which names ``what`` and, where a module is missing, the module and the environment that lacks it.
    """
    try:
        return pickle.loads(data)
    except ModuleNotFoundError as err:
        side = "local" if is_local() else "remote"
        raise DeserializationError(
            f"{what} can't be unpickled: it needs the module {err.name!r}, which is not in the {side} environment; "
            "install it there, or send plain values"
        ) from err
    except AttributeError as err:
        raise DeserializationError(f"{what} can't be unpickled: {err}; {_hint(err)}") from err
    except Exception as err:
        raise DeserializationError(f"{what} can't be unpickled: {type(err).__name__}: {err}") from err


def deserialize_plain(data: bytes | memoryview | bytearray, what: str = "the value") -> Any:
    """Return the value of CBOR, which programs in other languages send. Raises DeserializationError, which names ``what``."""
    from skerry import _cbor

    try:
        return _cbor.loads(data)
    except ValueError as err:
        raise DeserializationError(f"{what} can't be read as CBOR: {err}") from err


def _hint(err: AttributeError) -> str:
    if "_make_function" in str(err) or "_fill_function" in str(err):
        return "are the Python versions of the two sides the same?"
    return "do both sides have the same versions of the library that defines it?"
