/** Times in milliseconds, as users give them, and the messages that carry them. */

import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { InvalidError } from "./errors.js";

/** Bounds of a time in milliseconds. */
export interface Bounds {
  /** The least. */
  min?: number;
  /** The most. */
  max?: number;
  /** It has to be whole seconds, for the server counts in them. */
  wholeSeconds?: boolean;
}

/** Returns a time in milliseconds. Throws {@link InvalidError} unless it is a number within the bounds. */
export function checkMs(noun: string, value: number, bounds: Bounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  if (typeof value !== "number" || !Number.isFinite(value) || value < min || value > max) {
    throw new InvalidError(`${noun} ${value}: want ${min} to ${max} milliseconds`);
  }
  if (bounds.wholeSeconds && value % 1000 !== 0) {
    throw new InvalidError(`${noun} ${value}: want whole seconds, a multiple of 1000 milliseconds`);
  }
  return value;
}

/** Returns the message for a time in milliseconds. */
export function toDuration(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) });
}

/** Returns a message's time in milliseconds; 0 where there is none. */
export function fromDuration(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** Returns a message's moment; null where there is none. */
export function fromTimestamp(timestamp: Timestamp | undefined): Date | null {
  return timestamp === undefined ? null : timestampDate(timestamp);
}
