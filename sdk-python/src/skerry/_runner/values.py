"""Arguments and results: pickles of protocol 4."""

from __future__ import annotations

# The C pickler without pickle.py around it, which imports a good deal; pickle.py itself would pick the same.
from _pickle import dumps as _dumps
from _pickle import loads as _loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PICKLE = 1
_PROTOCOL = 4


def load_arguments(data: bytes | bytearray, form: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs). Raises skerry's DeserializationError, or ExecutionError where a module is missing."""
    if not data:
        return (), {}
    if form != PICKLE:
        from skerry.exception import DeserializationError

        raise DeserializationError(f"the arguments are in format {form}, which this runner does not read; send pickles")
    try:
        args, kwargs = _loads(data)
    except BaseException as err:
        raise _deserialization(err) from err
    return args, kwargs


def load_function(data: bytes | bytearray) -> Any:
    """Return a function that was sent by value. Raises like load_arguments."""
    try:
        return _loads(data)
    except BaseException as err:
        raise _deserialization(err, "the function") from err


def _deserialization(err: BaseException, what: str = "the arguments") -> BaseException:
    from skerry.exception import DeserializationError, ExecutionError

    if isinstance(err, ModuleNotFoundError):
        return ExecutionError(
            f"{what} can't be unpickled: they need the module {err.name!r}, which is not in the remote environment; "
            f"add it to the image"
        )
    hint = ""
    if isinstance(err, AttributeError):
        python = "_make_function" in str(err) or "_fill_function" in str(err)
        what_differs = "Python versions" if python else "library versions"
        hint = f"; do both sides have the same {what_differs}?"
    return DeserializationError(f"{what} can't be unpickled in the container: {type(err).__name__}: {err}{hint}")


def dump(value: Any) -> bytes:
    """Return a result's pickle. Raises skerry's SerializationError."""
    try:
        return _dumps(value, _PROTOCOL)
    except Exception:  # noqa: S110 - cloudpickle takes far more, and says better what it does not take
        pass
    try:
        import cloudpickle

        return cloudpickle.dumps(value, protocol=_PROTOCOL)
    except Exception as err:
        from skerry.exception import SerializationError

        hint = "; mark the function as a generator to stream values" if type(value).__name__ == "generator" else ""
        raise SerializationError(
            f"the result, a {type(value).__name__}, can't be pickled: {type(err).__name__}: {err}{hint}"
        ) from err
