"""What errors of sandboxes become here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectrpc.code import Code

from skerry import exception as exc
from skerry._client.faults import from_connect
from skerry._gen.skerry.v1.filesystem_pb import FileFault, FileFaultKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectrpc.errors import ConnectError

_FILE_FAULTS: dict[FileFaultKind, type[exc.SandboxFilesystemError]] = {
    FileFaultKind.NOT_FOUND: exc.SandboxFilesystemNotFoundError,
    FileFaultKind.IS_DIRECTORY: exc.SandboxFilesystemIsADirectoryError,
    FileFaultKind.NOT_DIRECTORY: exc.SandboxFilesystemNotADirectoryError,
    FileFaultKind.ALREADY_EXISTS: exc.SandboxFilesystemPathAlreadyExistsError,
    FileFaultKind.PERMISSION_DENIED: exc.SandboxFilesystemPermissionError,
    FileFaultKind.DIRECTORY_NOT_EMPTY: exc.SandboxFilesystemDirectoryNotEmptyError,
    FileFaultKind.TOO_LARGE: exc.SandboxFilesystemFileTooLargeError,
}


def timed_out(what: str, kind: type[exc.Error] = exc.TimeoutError) -> Callable[[ConnectError], exc.Error]:
    """Return what makes an error of its own of a deadline that passed."""

    def fault(error: ConnectError) -> exc.Error:
        if error.code is Code.DEADLINE_EXCEEDED:
            return kind(f"{what}: {error.message or 'it took too long'}")
        return from_connect(error)

    return fault


def file_fault(error: ConnectError) -> exc.Error:
    """Return the exception for an error of an operation on files: of the sandbox's file system where it says so."""
    for detail in error.details:
        if detail.type_name == "skerry.v1.FileFault":
            fault = detail.value(FileFault)
            kind = fault.kind if fault is not None else FileFaultKind.UNSPECIFIED
            return _FILE_FAULTS.get(kind, exc.SandboxFilesystemError)(error.message)
    # The sandbox itself is not there any more.
    if error.code is Code.NOT_FOUND:
        return exc.NotFoundError(error.message)
    made = from_connect(error)
    if isinstance(made, (exc.AuthError, exc.PermissionDeniedError, exc.ConflictError, exc.InvalidError)):
        return made
    return exc.SandboxFilesystemError(error.message)
