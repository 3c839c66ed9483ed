import { ClientClosedError, InternalError, type SkerryError } from "../errors.js";
import * as faults from "../faults.js";
import type { Input, Output, SessionRequest, SessionResponse } from "../gen/skerry/v1/call_pb.js";
import type { Patience, Retries } from "../patience.js";
import type { Call } from "./call.js";
import { type Frame, makeRequests } from "./frames.js";

/** How long the stream stays open without calls. An open stream keeps the program from ending. */
const IDLE_MS = 1000;
/** How many finished calls may wait to be released until something else is sent. */
const MAX_LAZY_RELEASES = 64;

/** What a {@link Session} needs. */
export interface SessionParams {
  /** Opens a stream; called again whenever one broke. */
  connect: (requests: AsyncIterable<SessionRequest>) => AsyncIterable<SessionResponse>;
  /** How long to try. */
  patience: Patience;
  /** Aborted when the client is closed. */
  closing: AbortSignal;
}

/**
 * All calls of a client, over one stream. It is opened at the first of them and ends soon after the last.
 *
 * When the stream breaks, a new one is opened, and every input whose output has not come is sent again, marked as resumed: the server
 * runs none of them twice on purpose.
 */
export class Session {
  readonly #params: SessionParams;
  readonly #calls = new Map<string, Call>();
  #released: string[] = [];
  #outbox: Outbox | undefined;
  #running = false;
  #idle: NodeJS.Timeout | undefined;

  constructor(params: SessionParams) {
    this.#params = params;
  }

  /** Sends inputs of a call. They are sent again until their outputs (SPAWN: their acceptance) have come. */
  submit(call: Call, inputs: readonly Input[]): void {
    for (const input of inputs) {
      call.unfinished.set(input.index, input);
    }
    this.#enter(call, { what: "inputs", call, inputs, resumed: false });
  }

  /** Asks for the outputs of a call. */
  watch(call: Call): void {
    this.#enter(call, { what: "watch", call });
  }

  /** Says how far the reader of a generator has come. */
  saw(call: Call): void {
    if (this.#calls.has(call.callId)) {
      this.#outbox?.put({ what: "seen", call, seen: call.seen });
    }
  }

  /** Forgets a call: nothing more is delivered to it, and the server forgets the outputs of SYNC calls. */
  release(call: Call): void {
    if (this.#calls.get(call.callId) !== call) {
      return;
    }
    this.#calls.delete(call.callId);
    this.#released.push(call.callId);
    if (this.#released.length >= MAX_LAZY_RELEASES) {
      this.#outbox?.wake();
    }
    if (this.#calls.size === 0) {
      clearTimeout(this.#idle);
      this.#idle = setTimeout(() => this.#outbox?.end(), IDLE_MS).unref();
    }
  }

  /** Fails the calls that are open. The stream ends with the client's connection. */
  close(): void {
    clearTimeout(this.#idle);
    this.#outbox?.end();
    this.#failAll(new ClientClosedError("the client was closed before the call had ended"));
  }

  #enter(call: Call, frame: Frame): void {
    if (this.#params.closing.aborted) {
      throw new ClientClosedError("the client is closed; make a new one");
    }
    this.#calls.set(call.callId, call);
    clearTimeout(this.#idle);
    if (this.#outbox !== undefined && !this.#outbox.ended) {
      this.#outbox.put(frame);
    } else if (!this.#running) {
      this.#running = true;
      void this.#run([frame]);
    }
    // Else the stream is being opened again: that sends all that is unfinished.
  }

  async #run(first: Frame[]): Promise<void> {
    const retries = this.#params.patience.retries(this.#params.closing);
    let frames = first;
    try {
      while (this.#calls.size > 0 && !this.#params.closing.aborted) {
        const outbox = new Outbox(frames, () => this.#takeReleased());
        this.#outbox = outbox;
        let error: unknown;
        try {
          for await (const response of this.#params.connect(outbox.requests())) {
            this.#params.patience.reached = true;
            retries.succeeded();
            this.#dispatch(response);
          }
        } catch (reason) {
          error = reason;
        }
        const meant = outbox.ended && error === undefined;
        outbox.end();
        this.#outbox = undefined;
        if (!meant) {
          await this.#recover(error, retries);
        }
        frames = this.#unfinished();
      }
    } finally {
      this.#running = false;
    }
  }

  async #recover(error: unknown, retries: Retries): Promise<void> {
    if (this.#params.closing.aborted) {
      return;
    }
    if (error instanceof DispatchError) {
      this.#failAll(error.defect);
    } else if (error !== undefined && !faults.isBroken(error)) {
      this.#failAll(faults.from(error));
    } else if (!(await retries.wait(error)) && !this.#params.closing.aborted) {
      const reason = error === undefined ? "the server ended the session" : faults.from(error).message;
      this.#failAll(this.#params.patience.error(reason));
      retries.succeeded();
    }
  }

  #unfinished(): Frame[] {
    const frames: Frame[] = [];
    for (const call of this.#calls.values()) {
      const inputs = [...call.unfinished.values()];
      frames.push(inputs.length > 0 ? { what: "inputs", call, inputs, resumed: true } : { what: "watch", call });
      if (call.seen > 0) {
        frames.push({ what: "seen", call, seen: call.seen });
      }
    }
    return frames;
  }

  #takeReleased(): string[] {
    // A call that is watched again meanwhile is not to be forgotten.
    const released = this.#released.filter((callId) => !this.#calls.has(callId));
    this.#released = [];
    return released;
  }

  #dispatch(response: SessionResponse): void {
    try {
      this.#deliver(response);
    } catch (reason) {
      // A defect in what takes outputs must not leave callers waiting for ever.
      throw new DispatchError(
        new InternalError(`the client failed to take an output: ${String(reason)}; this is a defect in skerry`, {
          cause: reason,
        }),
      );
    }
  }

  #deliver(response: SessionResponse): void {
    for (const items of response.items) {
      this.#calls.get(items.callId)?.deliverItems(items);
    }
    for (const [callId, outputs] of byCall(response.outputs)) {
      this.#calls.get(callId)?.deliver(outputs);
    }
    for (const accepted of response.accepted) {
      this.#calls.get(accepted.callId)?.accept(accepted.indexes);
    }
    for (const state of response.states) {
      this.#calls.get(state.callId)?.learn(state);
    }
    for (const refused of response.refused) {
      const call = this.#calls.get(refused.callId);
      if (call !== undefined) {
        this.#calls.delete(refused.callId);
        call.fail(faults.fromCode(refused.code, refused.message));
      }
    }
  }

  #failAll(error: SkerryError): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      call.fail(error);
    }
  }
}

class DispatchError extends Error {
  constructor(readonly defect: SkerryError) {
    super(defect.message);
  }
}

function byCall(outputs: readonly Output[]): Map<string, Output[]> {
  const found = new Map<string, Output[]>();
  for (const output of outputs) {
    const known = found.get(output.callId);
    if (known === undefined) {
      found.set(output.callId, [output]);
    } else {
      known.push(output);
    }
  }
  return found;
}

/** What waits to be sent over one stream. */
class Outbox {
  ended = false;
  #frames: Frame[];
  readonly #released: () => string[];
  #wake: (() => void) | undefined;
  #woken: boolean;

  constructor(frames: Frame[], released: () => string[]) {
    this.#frames = frames;
    this.#released = released;
    this.#woken = frames.length > 0;
  }

  put(frame: Frame): void {
    this.#frames.push(frame);
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  async *requests(): AsyncGenerator<SessionRequest, void, undefined> {
    for (;;) {
      if (!this.#woken) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
      this.#woken = false;
      const frames = this.#frames;
      this.#frames = [];
      yield* makeRequests(frames, this.#released());
      if (this.ended && this.#frames.length === 0) {
        return;
      }
    }
  }
}
