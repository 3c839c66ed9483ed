import { unwrap } from "./call/results.js";
import { WatchedCall } from "./call/watched.js";
import type { Core } from "./core.js";
import { checkMs } from "./duration.js";
import { InvalidError } from "./errors.js";
import { CallService } from "./gen/skerry/v1/call_pb.js";
import { isId, quote } from "./names.js";

/** Parameters of {@link FunctionCall.get}. */
export interface FunctionCallGetParams {
  /** Most milliseconds to wait; 0: only ask; default: for ever. */
  timeoutMs?: number;
  /** Which input, of a call that has several (0). */
  index?: number;
}

/** Parameters of {@link FunctionCall.cancel}. */
export interface FunctionCallCancelParams {
  /** Also stop the containers that run the inputs. */
  terminateContainers?: boolean;
}

/** A call that runs on by itself. Its results are kept for 7 days after it has ended. */
export class FunctionCall<R = unknown> {
  /** "fc-...". Another program finds the call by it. */
  readonly functionCallId: string;
  readonly #core: Core;
  readonly #watched: WatchedCall;

  /** @internal */
  constructor(core: Core, functionCallId: string) {
    this.functionCallId = functionCallId;
    this.#core = core;
    this.#watched = new WatchedCall(core, functionCallId);
  }

  /**
   * Waits for the result of an input and returns it. Can be done again.
   *
   * Throws a {@link RemoteError} for what the function raised, {@link TimeoutError}, {@link OutputExpiredError} if the result is no
   * longer kept, {@link NotFoundError}.
   */
  async get(params: FunctionCallGetParams = {}): Promise<R> {
    const { timeoutMs, index = 0 } = params;
    if (timeoutMs !== undefined) {
      checkMs("timeoutMs", timeoutMs);
    }
    this.#core.checkOpen();
    const result = await this.#watched.result(index, timeoutMs);
    return (await unwrap(this.#core, result, `call ${this.functionCallId}`)) as R;
  }

  /**
   * Cancels the inputs that wait or run; their `get` then throws {@link RemoteError}. Finished ones keep their results.
   *
   * Throws {@link NotFoundError}.
   */
  async cancel(params: FunctionCallCancelParams = {}): Promise<void> {
    const { terminateContainers = false } = params;
    const rpcs = this.#core.rpc(CallService);
    await this.#core.call(() => rpcs.cancelCall({ callId: this.functionCallId, terminateContainers }));
  }
}

/** Calls that run by themselves. Get it as {@link SkerryClient.functionCalls}. */
export class FunctionCallService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Returns the handle of a call by its id, "fc-...". Nothing is asked of the server until the handle is used.
   *
   * Rejects with {@link InvalidError} for what is no such id.
   */
  async fromId<R = unknown>(functionCallId: string): Promise<FunctionCall<R>> {
    if (!isId(functionCallId, "fc-")) {
      throw new InvalidError(`function call id ${quote(functionCallId)}: want fc- and 22 letters or digits`);
    }
    return new FunctionCall<R>(this.#core, functionCallId);
  }
}
