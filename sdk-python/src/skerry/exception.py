"""The exceptions of Skerry.

::

    Exception
    └ Error
      ├ AlreadyExistsError ├ AuthError ├ ConflictError ├ DataLossError ├ InternalError ├ InvalidError ├ NotFoundError
      ├ PermissionDeniedError ├ ResourceExhaustedError ├ ServiceError ├ UnimplementedError
      ├ RemoteError ─ ImageBuildError
      ├ TimeoutError (not the builtin)
      │   ├ FunctionTimeoutError ├ ExecTimeoutError ├ InteractiveTimeoutError ├ MountUploadTimeoutError
      │   ├ OutputExpiredError ├ SandboxTimeoutError └ VolumeUploadTimeoutError
      ├ ClientClosed ├ ConnectionError ├ DeserializationError ├ ExecutionError ├ InternalFailure ├ LogsFetchError
      ├ FilesystemExecutionError ├ ModuleNotMountable ├ RequestSizeError ├ SandboxTerminatedError ├ SerializationError
      ├ SnapshotCreationError ├ VersionError ├ WorkspaceManagementError
      └ SandboxFilesystemError
          ├ SandboxFilesystemNotFoundError ├ SandboxFilesystemDirectoryNotEmptyError ├ SandboxFilesystemIsADirectoryError
          ├ SandboxFilesystemNotADirectoryError ├ SandboxFilesystemPermissionError ├ SandboxFilesystemFileTooLargeError
          └ SandboxFilesystemPathAlreadyExistsError
    UserWarning: AsyncUsageWarning, DeprecationError, ServerWarning
    BaseException: InputCancellation

What a remote function raises is raised in the caller with its own type; the types above are for what goes wrong around it.
"""

from __future__ import annotations


class Error(Exception):
    """Base of all errors that Skerry raises."""


class AlreadyExistsError(Error):
    """What was to be made exists."""


class AuthError(Error):
    """The token is missing or wrong."""


class ConflictError(Error):
    """The state of the object does not allow what was asked, such as using a stopped app."""


class DataLossError(Error):
    """Stored bytes are missing or damaged."""


class InternalError(Error):
    """A defect in Skerry; the server's log has the details."""


class InvalidError(Error):
    """Skerry was used in a way, or with an argument, that makes no sense."""


class NotFoundError(Error):
    """The object that was named does not exist."""


class PermissionDeniedError(Error):
    """The token may not do this."""


class ResourceExhaustedError(Error):
    """A limit is reached."""


class ServiceError(Error):
    """The server had a problem that may go away by itself."""


class UnimplementedError(Error):
    """The feature is not available in this version of Skerry."""


class RemoteError(Error):
    """Something failed on the server's side and left no exception object to raise."""


class ImageBuildError(RemoteError):
    """A step of an image failed.

    Attributes:
        image_id: the image that would have been, "im-...", or "" where the build ended before it had one.
    """

    def __init__(self, message: str, image_id: str = "") -> None:
        super().__init__(message)
        self.image_id = image_id


class TimeoutError(Error):  # noqa: A001 - the name is part of the public surface
    """Base of the timeouts of Skerry; not the builtin TimeoutError."""


class FunctionTimeoutError(TimeoutError):
    """An input ran longer than its function's timeout."""


class ExecTimeoutError(TimeoutError):
    """A command in a container ran longer than its timeout."""


class InteractiveTimeoutError(TimeoutError):
    """An interactive session did not start in time."""


class MountUploadTimeoutError(TimeoutError):
    """Local files could not be sent in time."""


class OutputExpiredError(TimeoutError):
    """The result is no longer kept; results are deleted 7 days after a call ends."""


class SandboxTimeoutError(TimeoutError):
    """A sandbox ran longer than its timeout."""


class VolumeUploadTimeoutError(TimeoutError):
    """Files could not be sent to a volume in time."""


class ClientClosed(Error):  # noqa: N818 - the name is part of the public surface
    """The client was used after it was closed."""


class ConnectionError(Error):  # noqa: A001 - the name is part of the public surface
    """The server can't be reached."""


class DeserializationError(Error):
    """Received bytes could not be turned into a value here."""


class ExecutionError(Error):
    """Something is wrong at run time: an object is used before it exists, or a remote error can't be rebuilt here."""


class InternalFailure(Error):  # noqa: N818 - the name is part of the public surface
    """Infrastructure failed more often than an input is run again."""


class LogsFetchError(Error):
    """Logs could not be read."""


class ModuleNotMountable(Error):  # noqa: N818 - the name is part of the public surface
    """A Python module can't be sent to containers as source."""


class RequestSizeError(Error):
    """A request is larger than the server takes."""


class SerializationError(Error):
    """A value could not be turned into bytes."""


class VersionError(Error):
    """Client and server do not fit together."""


# What the exceptions below are about comes with later versions; they can be named in except clauses today.


class SandboxTerminatedError(Error):
    """A sandbox was ended from outside."""


class SnapshotCreationError(Error):
    """A snapshot could not be made."""


class WorkspaceManagementError(Error):
    """A setting of the workspace could not be changed."""


class FilesystemExecutionError(Error):
    """An operation on the files of a sandbox could not be run."""


class SandboxFilesystemError(Error):
    """An operation on the files of a sandbox failed."""


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """The path does not exist."""


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """The folder to be removed has something in it."""


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """The path is a folder."""


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A part of the path is no folder."""


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """The path may not be used so."""


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """The file is larger than can be read at once."""


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """The path exists."""


class AsyncUsageWarning(UserWarning):
    """A blocking call was made inside a running event loop, which it holds up."""


class DeprecationError(UserWarning):
    """A removed or deprecated part of the surface was used."""


class ServerWarning(UserWarning):
    """The server has something to say."""


class InputCancellation(BaseException):
    """Raised in user code when its input is cancelled.

    It is no ``Exception``, so that ``except Exception`` does not swallow it. Clean up and let it go on.
    """


def simulate_preemption(wait_seconds: int, jitter_seconds: int = 0) -> None:
    """Raise KeyboardInterrupt in the main thread later, as a container sees it whose host is taken away.

    Args:
        wait_seconds: seconds until then, more than 0.
        jitter_seconds: up to so many seconds more, at random.

    It is raised again 30 s after, where the process would be killed. Raises ValueError if wait_seconds is not positive.
    """
    if wait_seconds <= 0:
        raise ValueError(f"wait_seconds {wait_seconds}: must be more than 0")
    import random
    import signal

    def interrupt(_signum: int, _frame: object) -> None:
        signal.alarm(30)
        raise KeyboardInterrupt("simulated preemption")

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(wait_seconds + random.randrange(jitter_seconds + 1))  # noqa: S311 - jitter is no secret
