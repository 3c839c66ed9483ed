/** Turns what the transport throws into the errors of this package, in this one place. */

import { Code, ConnectError } from "@connectrpc/connect";
import {
  AlreadyExistsError,
  AuthError,
  ConflictError,
  DataLossError,
  InternalError,
  InvalidError,
  NotFoundError,
  PermissionDeniedError,
  ResourceExhaustedError,
  ServiceError,
  SkerryError,
  UnimplementedError,
} from "./errors.js";

type ErrorClass = new (message: string, options?: ErrorOptions) => SkerryError;

const BY_CODE: Record<Code, ErrorClass> = {
  [Code.Canceled]: ServiceError,
  [Code.Unknown]: ServiceError,
  [Code.DeadlineExceeded]: ServiceError,
  [Code.Unavailable]: ServiceError,
  [Code.InvalidArgument]: InvalidError,
  [Code.OutOfRange]: InvalidError,
  [Code.NotFound]: NotFoundError,
  [Code.AlreadyExists]: AlreadyExistsError,
  [Code.PermissionDenied]: PermissionDeniedError,
  [Code.ResourceExhausted]: ResourceExhaustedError,
  [Code.FailedPrecondition]: ConflictError,
  [Code.Aborted]: ConflictError,
  [Code.Unimplemented]: UnimplementedError,
  [Code.Internal]: InternalError,
  [Code.DataLoss]: DataLossError,
  [Code.Unauthenticated]: AuthError,
};

/** What a stream may end with although nothing is wrong with what was sent over it. */
const BROKEN: ReadonlySet<Code> = new Set([
  Code.Canceled,
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unavailable,
  Code.Internal,
  Code.Aborted,
]);

/** How Node names the failures to connect at all: nothing of the request was sent. */
const REFUSED: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
]);

/** Returns anything that was thrown as an error of this package; the errors of this package as they are. */
export function from(reason: unknown): SkerryError {
  if (reason instanceof SkerryError) {
    return reason;
  }
  const error = ConnectError.from(reason);
  return fromCode(error.code, error.rawMessage, reason);
}

/** Returns the error for a code's number, which is the same in gRPC and Connect. */
export function fromCode(code: number, message: string, cause?: unknown): SkerryError {
  const known: Code = code in BY_CODE ? code : Code.Unknown;
  const hint =
    known === Code.Unauthenticated ? "; check token_id and token_secret (`skerry token info`, `skerry token set`)" : "";
  const text = (message || Code[known]) + hint;
  return new BY_CODE[known](text, cause === undefined ? undefined : { cause });
}

/** Tells whether no connection came about at all, so that the request was not sent. */
export function isRefused(reason: unknown): boolean {
  const code = nodeCode(reason);
  return code !== undefined && REFUSED.has(code);
}

/** Tells whether the connection or the server went away during a stream, so that opening it again may help. */
export function isBroken(reason: unknown): boolean {
  return !(reason instanceof SkerryError) && BROKEN.has(ConnectError.from(reason).code);
}

/** Tells whether a single request ended because the connection or the server went away; the rest are answers. */
export function isAway(reason: unknown): boolean {
  if (reason instanceof SkerryError) {
    return false;
  }
  const code = ConnectError.from(reason).code;
  return code === Code.Canceled || code === Code.Unavailable || nodeCode(reason) !== undefined;
}

function nodeCode(reason: unknown): string | undefined {
  for (let error = reason, depth = 0; error instanceof Error && depth < 8; error = error.cause, depth++) {
    if ("code" in error && typeof error.code === "string") {
      return error.code;
    }
  }
  return undefined;
}
