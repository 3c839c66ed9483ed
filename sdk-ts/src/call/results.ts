/** What an input ended with, as the value to return or the error to throw. */

import { readPayload } from "../blobs.js";
import { RemoteException } from "../cbor.js";
import type { Core } from "../core.js";
import { FunctionTimeoutError, InternalError, InternalFailure, RemoteError } from "../errors.js";
import {
  PayloadFormat,
  type RemoteError as RemoteErrorMessage,
  type Result,
  ResultStatus,
} from "../gen/skerry/v1/payload_pb.js";

/** Returns the value of a result, or throws what the function raised. `what` names the call in messages. */
export async function unwrap(core: Core, result: Result | undefined, what: string): Promise<unknown> {
  if (result?.status === ResultStatus.SUCCESS) {
    return await readPayload(core, result.value, `the result of ${what}`);
  }
  throw await failure(core, result, what);
}

/** Returns the error for a result that is no success. */
export async function failure(core: Core, result: Result | undefined, what: string): Promise<Error> {
  if (result === undefined) {
    return new InternalError(`${what}: the server sent an outcome without a result`);
  }
  const error = result.error;
  const message = error?.message || `${what} failed`;
  switch (result.status) {
    case ResultStatus.TIMEOUT:
      return new FunctionTimeoutError(message);
    case ResultStatus.INTERNAL_FAILURE:
      return new InternalFailure(message);
    case ResultStatus.CANCELLED:
      return new RemoteError(error?.message || `${what}: the input was cancelled`);
    default:
      return new RemoteError(message, {
        remoteType: error?.type ?? "",
        remoteTraceback: error?.traceback ?? "",
        cause: await causeOf(core, error),
      });
  }
}

/** Returns what caused a remote exception, where its runner could tell. */
async function causeOf(core: Core, error: RemoteErrorMessage | undefined): Promise<unknown> {
  if (error?.exception?.format !== PayloadFormat.CBOR) {
    return undefined;
  }
  const exception = await readPayload(core, error.exception, "the remote exception");
  return exception instanceof RemoteException ? exception.cause : undefined;
}
