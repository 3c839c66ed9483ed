/** Calls of generators: items come as they are yielded, a window of them ahead of who reads. */

import { create } from "@bufbuild/protobuf";
import { makePayload, readPayload } from "../blobs.js";
import type { Core } from "../core.js";
import { type Deferred, defer } from "../deferred.js";
import { DataLossError, type SkerryError } from "../errors.js";
import { CallKind, InputSchema, type Items, type Output } from "../gen/skerry/v1/call_pb.js";
import { type Payload, type Result, ResultStatus } from "../gen/skerry/v1/payload_pb.js";
import { Call } from "./call.js";
import { failure } from "./results.js";
import { type Arguments, cancelSoon, type Target } from "./single.js";

/** After so many items the server hears how far the reader has come. It sends 1,000 ahead. */
const ACKNOWLEDGE = 250;

class GeneratorCall extends Call {
  readonly items: Payload[] = [];
  result: { value: Result | undefined } | undefined;
  error: SkerryError | undefined;
  arrival: Deferred<void> = defer();
  #received = 0;

  constructor(
    functionId: string,
    readonly name: string,
  ) {
    super(functionId, CallKind.SYNC);
  }

  override deliverItems(items: Items): void {
    const known = this.#received + 1 - Number(items.first);
    if (known < 0) {
      this.error = new DataLossError(
        `${this.name}: items ${this.#received + 1} to ${Number(items.first) - 1} are no longer kept; read them sooner`,
      );
    } else {
      const fresh = items.values.slice(known); // those that came before a break of the session are dropped
      this.items.push(...fresh);
      this.#received += fresh.length;
    }
    this.#arrived();
  }

  override deliver(outputs: readonly Output[]): void {
    this.unfinished.clear();
    this.result = { value: outputs[0]?.result };
    this.#arrived();
  }

  override fail(error: SkerryError): void {
    this.error = error;
    this.#arrived();
  }

  #arrived(): void {
    const arrival = this.arrival;
    this.arrival = defer();
    arrival.resolve();
  }
}

/** Runs one input and yields its items. Who stops reading cancels it. */
export async function* generate(core: Core, target: Target, args: Arguments): AsyncGenerator<unknown, void, undefined> {
  core.checkOpen();
  const payload = await makePayload(core, args, `the arguments of ${target.name}`);
  const call = new GeneratorCall(target.functionId, target.name);
  core.session.submit(call, [create(InputSchema, { index: 0, args: payload, method: target.method })]);
  let acknowledged = 0;
  try {
    for (;;) {
      const arrival = call.arrival.promise;
      const item = call.items.shift();
      if (item !== undefined) {
        yield await readPayload(core, item, `an item of ${target.name}`);
        call.seen += 1;
        if (call.seen - acknowledged >= ACKNOWLEDGE && call.result === undefined) {
          acknowledged = call.seen;
          core.session.saw(call);
        }
      } else if (call.error !== undefined) {
        throw call.error;
      } else if (call.result !== undefined) {
        if (call.result.value?.status !== ResultStatus.SUCCESS) {
          throw await failure(core, call.result.value, target.name);
        }
        return;
      } else {
        await arrival;
      }
    }
  } finally {
    core.session.release(call);
    if (call.result === undefined && call.error === undefined) {
      cancelSoon(core, call.callId);
    }
  }
}
