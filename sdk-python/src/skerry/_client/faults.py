"""Turns the server's error codes into the exceptions of :mod:`skerry.exception`, in this one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectrpc.code import Code

from skerry import exception as exc

if TYPE_CHECKING:
    from connectrpc.errors import ConnectError

_BY_CODE: dict[Code, type[exc.Error]] = {
    Code.CANCELED: exc.ServiceError,
    Code.UNKNOWN: exc.ServiceError,
    Code.DEADLINE_EXCEEDED: exc.ServiceError,
    Code.UNAVAILABLE: exc.ServiceError,
    Code.INVALID_ARGUMENT: exc.InvalidError,
    Code.OUT_OF_RANGE: exc.InvalidError,
    Code.NOT_FOUND: exc.NotFoundError,
    Code.ALREADY_EXISTS: exc.AlreadyExistsError,
    Code.PERMISSION_DENIED: exc.PermissionDeniedError,
    Code.RESOURCE_EXHAUSTED: exc.ResourceExhaustedError,
    Code.FAILED_PRECONDITION: exc.ConflictError,
    Code.ABORTED: exc.ConflictError,
    Code.UNIMPLEMENTED: exc.UnimplementedError,
    Code.INTERNAL: exc.InternalError,
    Code.DATA_LOSS: exc.DataLossError,
    Code.UNAUTHENTICATED: exc.AuthError,
}

# CallRefused carries the code as the number that gRPC and Connect give it.
_NUMBERS = (
    Code.CANCELED,
    Code.UNKNOWN,
    Code.INVALID_ARGUMENT,
    Code.DEADLINE_EXCEEDED,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.RESOURCE_EXHAUSTED,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
    Code.DATA_LOSS,
    Code.UNAUTHENTICATED,
)

# What a stream may end with although nothing is wrong with what was sent over it: the connection broke or the server stopped.
_BROKEN = frozenset(
    {Code.CANCELED, Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE, Code.INTERNAL, Code.ABORTED},
)

# What a single request may end with for the same reason; the rest are answers.
AWAY = frozenset({Code.CANCELED, Code.UNAVAILABLE})


def from_connect(error: ConnectError) -> exc.Error:
    """Return the exception for an error of an RPC."""
    return _make(error.code, error.message)


def from_number(number: int, message: str) -> exc.Error:
    """Return the exception for a code's number."""
    return _make(_NUMBERS[number - 1] if 1 <= number <= len(_NUMBERS) else Code.UNKNOWN, message)


def is_refused(error: ConnectError) -> bool:
    """Tell whether no connection came about at all, so that the request was not sent."""
    return isinstance(error.__cause__, ConnectionError)


def is_broken(error: ConnectError) -> bool:
    """Tell whether the connection or the server went away, so that trying again may help."""
    return error.code in _BROKEN


def _make(code: Code, message: str) -> exc.Error:
    if code is Code.UNAUTHENTICATED:
        message += "; check token_id and token_secret (`skerry token info`, `skerry token set`)"
    return _BY_CODE.get(code, exc.ServiceError)(message or code.value)
