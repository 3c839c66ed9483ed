/**
 * The errors of Skerry.
 *
 * ```text
 * Error
 * └ SkerryError
 *   ├ AlreadyExistsError ├ AuthError ├ ConflictError ├ DataLossError ├ InternalError ├ InvalidError ├ NotFoundError
 *   ├ PermissionDeniedError ├ ResourceExhaustedError ├ ServiceError ├ UnimplementedError
 *   ├ RemoteError ─ ImageBuildError
 *   ├ TimeoutError ─ FunctionTimeoutError, ExecTimeoutError, OutputExpiredError, SandboxTimeoutError
 *   ├ ClientClosedError ├ ConnectionError ├ DeserializationError ├ ExecutionError ├ InternalFailure
 *   ├ RequestSizeError ├ SandboxTerminatedError ├ SerializationError ├ SnapshotCreationError
 *   └ SandboxFilesystemError ─ SandboxFilesystem{NotFound,NotADirectory,IsADirectory,PathAlreadyExists,Permission,
 *     DirectoryNotEmpty,FileTooLarge}Error
 * ```
 *
 * What a remote function raises arrives as a {@link RemoteError} with the exception's type, text, traceback and causes.
 */

/** Base of all errors that Skerry throws. */
export class SkerryError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** What was to be made exists. */
export class AlreadyExistsError extends SkerryError {}

/** The token is missing or wrong. */
export class AuthError extends SkerryError {}

/** The state of the object does not allow what was asked, such as using a stopped app. */
export class ConflictError extends SkerryError {}

/** Stored bytes are missing or damaged. */
export class DataLossError extends SkerryError {}

/** A defect in Skerry; the server's log has the details. */
export class InternalError extends SkerryError {}

/** Skerry was used in a way, or with an argument, that makes no sense. */
export class InvalidError extends SkerryError {}

/** The object that was named does not exist. */
export class NotFoundError extends SkerryError {}

/** The token may not do this. */
export class PermissionDeniedError extends SkerryError {}

/** A limit is reached. */
export class ResourceExhaustedError extends SkerryError {}

/** The server had a problem that may go away by itself. */
export class ServiceError extends SkerryError {}

/** The feature is not available in this version of Skerry. */
export class UnimplementedError extends SkerryError {}

/** What is known of an exception that a remote function raised. */
export interface RemoteFailure {
  /** Qualified name of the exception's type, such as "builtins.ValueError"; "" if the process itself ended. */
  remoteType?: string;
  /** The formatted remote traceback, causes included; may be empty. */
  remoteTraceback?: string;
  /** What caused it. */
  cause?: unknown;
}

/** Something failed on the server's side: usually, the function that was called raised an exception. */
export class RemoteError extends SkerryError {
  /** Qualified name of the exception's type, such as "builtins.ValueError"; "" if there was none. */
  readonly remoteType: string;
  /** The formatted remote traceback, causes included; may be empty. */
  readonly remoteTraceback: string;

  constructor(message: string, failure: RemoteFailure = {}) {
    super(message, failure.cause === undefined ? undefined : { cause: failure.cause });
    this.remoteType = failure.remoteType ?? "";
    this.remoteTraceback = failure.remoteTraceback ?? "";
  }
}

/** A step of an image failed. */
export class ImageBuildError extends RemoteError {
  /** The image that would have been, "im-...", or "" where the build ended before it had one. */
  readonly imageId: string;

  constructor(message: string, imageId = "") {
    super(message);
    this.imageId = imageId;
  }
}

/** Base of the timeouts of Skerry. */
export class TimeoutError extends SkerryError {}

/** An input ran longer than its function's timeout. */
export class FunctionTimeoutError extends TimeoutError {}

/** A command in a container ran longer than its timeout. */
export class ExecTimeoutError extends TimeoutError {}

/** The result is no longer kept; results are deleted 7 days after a call ends. */
export class OutputExpiredError extends TimeoutError {}

/** A sandbox ran longer than its timeout. */
export class SandboxTimeoutError extends TimeoutError {}

/** The client, or the handle, was used after it was closed or detached. */
export class ClientClosedError extends SkerryError {}

/** The server can't be reached. */
export class ConnectionError extends SkerryError {}

/** Received bytes could not be turned into a value here. */
export class DeserializationError extends SkerryError {}

/** Something is wrong at run time: an object is used before it exists. */
export class ExecutionError extends SkerryError {}

/** Infrastructure failed more often than an input is run again. */
export class InternalFailure extends SkerryError {}

/** A queue had no item in time. */
export class QueueEmptyError extends SkerryError {}

/** A queue had no room in time. */
export class QueueFullError extends SkerryError {}

/** A request is larger than the server takes. */
export class RequestSizeError extends SkerryError {}

/** A sandbox was ended from outside. */
export class SandboxTerminatedError extends SkerryError {}

/** A value could not be turned into bytes. */
export class SerializationError extends SkerryError {}

/** A snapshot could not be made. */
export class SnapshotCreationError extends SkerryError {}

/** An operation on the files of a sandbox failed. */
export class SandboxFilesystemError extends SkerryError {}

/** The path does not exist. */
export class SandboxFilesystemNotFoundError extends SandboxFilesystemError {}

/** A part of the path is no folder. */
export class SandboxFilesystemNotADirectoryError extends SandboxFilesystemError {}

/** The path is a folder. */
export class SandboxFilesystemIsADirectoryError extends SandboxFilesystemError {}

/** The path exists. */
export class SandboxFilesystemPathAlreadyExistsError extends SandboxFilesystemError {}

/** The path may not be used so. */
export class SandboxFilesystemPermissionError extends SandboxFilesystemError {}

/** The folder to be removed has something in it. */
export class SandboxFilesystemDirectoryNotEmptyError extends SandboxFilesystemError {}

/** The file is larger than can be read at once. */
export class SandboxFilesystemFileTooLargeError extends SandboxFilesystemError {}
