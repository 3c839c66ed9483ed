/** Calls of one input: `remote` and `spawn`. */

import { create } from "@bufbuild/protobuf";
import { makePayload } from "../blobs.js";
import type { Core } from "../core.js";
import { type Deferred, defer } from "../deferred.js";
import type { SkerryError } from "../errors.js";
import { CallKind, CallService, InputSchema, type Output } from "../gen/skerry/v1/call_pb.js";
import type { Result } from "../gen/skerry/v1/payload_pb.js";
import { Call } from "./call.js";
import { unwrap } from "./results.js";

/** What is called. */
export interface Target {
  functionId: string;
  /** For messages. */
  name: string;
  /** The method, where the function is a class; else "". */
  method: string;
}

/** The arguments of an input as the runner takes them. */
export type Arguments = readonly [args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>];

/** One input on its way. `done` settles when its outcome is known or, for a spawned one, when the server has recorded it. */
class SingleCall extends Call {
  readonly done: Deferred<Result | undefined> = defer<Result | undefined>();

  override deliver(outputs: readonly Output[]): void {
    this.unfinished.clear();
    this.done.resolve(outputs[0]?.result);
  }

  override accept(indexes: readonly number[]): void {
    if (this.kind === CallKind.SPAWN && indexes.length > 0) {
      this.unfinished.clear();
      this.done.resolve(undefined);
    }
  }

  override fail(error: SkerryError): void {
    this.done.reject(error);
  }
}

/** Runs one input and returns its value, or throws what it raised. An aborted signal cancels the input. */
export async function remote(core: Core, target: Target, args: Arguments, signal?: AbortSignal): Promise<unknown> {
  signal?.throwIfAborted();
  const call = await begin(core, target, args, CallKind.SYNC);
  const abort = (): void => {
    call.done.reject(signal?.reason);
    cancelSoon(core, call.callId);
  };
  signal?.addEventListener("abort", abort);
  try {
    return await unwrap(core, await call.done.promise, target.name);
  } finally {
    signal?.removeEventListener("abort", abort);
    core.session.release(call);
  }
}

/** Records one input and returns its call's id: from then on nothing loses it. */
export async function spawn(core: Core, target: Target, args: Arguments): Promise<string> {
  const call = await begin(core, target, args, CallKind.SPAWN);
  try {
    await call.done.promise;
  } finally {
    core.session.release(call);
  }
  return call.callId;
}

/** Cancels a call that nobody waits for any more. */
export function cancelSoon(core: Core, callId: string): void {
  core
    .rpc(CallService)
    .cancelCall({ callId })
    .catch((error: unknown) => core.logger.debug("could not cancel a call", "call", callId, "error", error));
}

async function begin(core: Core, target: Target, args: Arguments, kind: CallKind): Promise<SingleCall> {
  core.checkOpen();
  const payload = await makePayload(core, args, `the arguments of ${target.name}`);
  const call = new SingleCall(target.functionId, kind);
  core.session.submit(call, [create(InputSchema, { index: 0, args: payload, method: target.method })]);
  return call;
}
