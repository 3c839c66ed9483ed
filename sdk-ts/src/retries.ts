import { create } from "@bufbuild/protobuf";
import { checkMs, toDuration } from "./duration.js";
import { InvalidError } from "./errors.js";
import { type RetryPolicy, RetryPolicySchema } from "./gen/skerry/v1/options_pb.js";

/** Parameters of {@link Retries}. */
export interface RetriesParams {
  /** Retries after the first attempt, 0 to 1000. */
  maxRetries: number;
  /** What each delay is multiplied by for the next, 1 to 10 (2). */
  backoffCoefficient?: number;
  /** The delay before the first retry, 0 to 60000 (1000). */
  initialDelayMs?: number;
  /** The longest delay, 1000 to 60000 (60000). */
  maxDelayMs?: number;
}

/** How often failed inputs are run again, and after how long. */
export class Retries {
  readonly maxRetries: number;
  readonly backoffCoefficient: number;
  readonly initialDelayMs: number;
  readonly maxDelayMs: number;

  /** Throws {@link InvalidError} for values out of their bounds. */
  constructor(params: RetriesParams) {
    const { maxRetries, backoffCoefficient = 2, initialDelayMs = 1000, maxDelayMs = 60_000 } = params;
    if (!Number.isInteger(maxRetries) || maxRetries < 0 || maxRetries > 1000) {
      throw new InvalidError(`maxRetries ${maxRetries}: want 0 to 1000`);
    }
    if (!(backoffCoefficient >= 1 && backoffCoefficient <= 10)) {
      throw new InvalidError(`backoffCoefficient ${backoffCoefficient}: want 1 to 10`);
    }
    this.maxRetries = maxRetries;
    this.backoffCoefficient = backoffCoefficient;
    this.initialDelayMs = checkMs("initialDelayMs", initialDelayMs, { max: 60_000 });
    this.maxDelayMs = checkMs("maxDelayMs", maxDelayMs, { min: 1000, max: 60_000 });
  }
}

/** Returns the message for retries, or for a number of them with the delay of one second. */
export function retryPolicy(retries: number | Retries): RetryPolicy {
  const policy = retries instanceof Retries ? retries : new Retries({ maxRetries: retries, backoffCoefficient: 1 });
  return create(RetryPolicySchema, {
    maxRetries: policy.maxRetries,
    backoffCoefficient: policy.backoffCoefficient,
    initialDelay: toDuration(policy.initialDelayMs),
    maxDelay: toDuration(policy.maxDelayMs),
  });
}
