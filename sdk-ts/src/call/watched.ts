import { create } from "@bufbuild/protobuf";
import type { Core } from "../core.js";
import { type Deferred, defer } from "../deferred.js";
import { NotFoundError, OutputExpiredError, type SkerryError, TimeoutError } from "../errors.js";
import { CallKind, type CallState, type Output, type Watch, WatchSchema } from "../gen/skerry/v1/call_pb.js";
import type { Result } from "../gen/skerry/v1/payload_pb.js";
import { Call } from "./call.js";

/** The outputs of a call that was spawned, by this program or another. It is watched while somebody waits for one. */
export class WatchedCall extends Call {
  readonly #core: Core;
  readonly #results = new Map<number, Result | undefined>();
  #state: CallState | undefined;
  #error: SkerryError | undefined;
  #changed: Deferred<void> = defer();
  #waiters = 0;

  constructor(core: Core, callId: string) {
    super("", CallKind.SPAWN, callId);
    this.#core = core;
  }

  override deliver(outputs: readonly Output[]): void {
    for (const output of outputs) {
      this.#results.set(output.index, output.result);
    }
    this.#notify();
  }

  override learn(state: CallState): void {
    this.#state = state;
    this.#notify();
  }

  override fail(error: SkerryError): void {
    this.#error = error;
    this.#notify();
  }

  override watch(): Watch {
    let first = 0;
    while (this.#results.has(first)) {
      first += 1;
    }
    const seenIndexes = [...this.#results.keys()].filter((index) => index > first).sort((a, b) => a - b);
    return create(WatchSchema, { callId: this.callId, fromIndex: first, seenIndexes });
  }

  /**
   * Waits for an output, at most `timeoutMs`; 0 asks the server once.
   *
   * Throws {@link TimeoutError}, {@link OutputExpiredError}, {@link NotFoundError}, or what went wrong with the connection.
   */
  async result(index: number, timeoutMs?: number): Promise<Result | undefined> {
    if (this.#results.has(index)) {
      return this.#results.get(index);
    }
    const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    this.#begin();
    try {
      for (;;) {
        const changed = this.#changed.promise;
        if (this.#look(index, deadline)) {
          return this.#results.get(index);
        }
        // Before the server's first answer there is nothing to base a timeout on; nor is there where all has ended and is on its way.
        await before(changed, this.#state === undefined ? Number.POSITIVE_INFINITY : deadline);
      }
    } finally {
      this.#end();
    }
  }

  #look(index: number, deadline: number): boolean {
    if (this.#results.has(index)) {
      return true;
    }
    if (this.#error !== undefined) {
      throw this.#error;
    }
    const state = this.#state;
    if (state === undefined) {
      return false;
    }
    if (state.expired) {
      throw new OutputExpiredError(`call ${this.callId}: its results are no longer kept`);
    }
    if (state.numInputs > 0 && index >= state.numInputs) {
      throw new NotFoundError(`call ${this.callId}: has ${state.numInputs} inputs, none with index ${index}`);
    }
    const onItsWay = state.numInputs > 0 && state.numFinished >= state.numInputs;
    if (performance.now() >= deadline && !onItsWay) {
      throw new TimeoutError(`call ${this.callId}: no result yet`);
    }
    return false;
  }

  #notify(): void {
    const changed = this.#changed;
    this.#changed = defer();
    changed.resolve();
  }

  #begin(): void {
    this.#waiters += 1;
    if (this.#waiters === 1) {
      this.#state = undefined;
      this.#error = undefined;
      this.#core.session.watch(this);
    }
  }

  #end(): void {
    this.#waiters -= 1;
    if (this.#waiters === 0) {
      this.#core.session.release(this);
    }
  }
}

/** Waits for a promise, until a moment of `performance.now()` at most. */
async function before(changed: Promise<void>, deadline: number): Promise<void> {
  const remaining = deadline - performance.now();
  if (!Number.isFinite(remaining) || remaining <= 0) {
    return await changed;
  }
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(remaining, 0x7fffffff));
  });
  try {
    await Promise.race([changed, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
