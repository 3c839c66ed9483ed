/** Options of functions and classes that differ from those of their definition. */

import { create } from "@bufbuild/protobuf";
import { checkMountPaths } from "./bucket.js";
import type { Core } from "./core.js";
import { checkMs, toDuration } from "./duration.js";
import { InvalidError } from "./errors.js";
import {
  BatchingSchema,
  ConcurrencySchema,
  type FunctionOptions as FunctionOptionsMessage,
  FunctionOptionsSchema,
  PlacementSchema,
} from "./gen/skerry/v1/options_pb.js";
import { type Retries, retryPolicy } from "./retries.js";
import { type Secret, secretIds } from "./secret.js";
import { type Volume, volumeMounts } from "./storage/volume.js";

const DAY_MS = 86_400_000;

/** Options of {@link Function_.withOptions} and {@link Cls.withOptions}; those that are left out stay as they are. */
export interface FunctionOptions {
  /** Cores wanted. */
  cpu?: number;
  /** Most cores. */
  cpuLimit?: number;
  /** Memory wanted, in MiB. */
  memoryMiB?: number;
  /** Most memory, in MiB; a container that needs more is ended. */
  memoryLimitMiB?: number;
  /** More environment variables, beside those of the secrets. */
  env?: Readonly<Record<string, string>>;
  /** Instead of all the secrets of the definition. */
  secrets?: readonly Secret[];
  /** Volumes by the absolute path where each is mounted, instead of all the volumes and buckets of the definition. */
  volumes?: Readonly<Record<string, Volume>>;
  /** How often a failed input is run again. */
  retries?: number | Retries;
  /** Most containers. */
  maxContainers?: number;
  /** Idle containers kept ready while there is work. */
  bufferContainers?: number;
  /** How long an idle container is kept; whole seconds. */
  scaledownWindowMs?: number;
  /** The longest attempt of an input, 1 s to 24 h. */
  timeoutMs?: number;
  /** Where containers may be. */
  regions?: readonly string[];
  /** The cloud that they are to be in. */
  cloud?: string;
}

/** Options of {@link Function_.withConcurrency}. */
export interface ConcurrencyParams {
  /** Most inputs in a container at a time, 1 to 1000. */
  maxInputs: number;
  /** How many the autoscaler aims at (maxInputs). */
  targetInputs?: number;
}

/** Options of {@link Function_.withBatching}. */
export interface BatchingParams {
  /** Most inputs together, 1 to 1000. */
  maxBatchSize: number;
  /** How long the first input waits for others, in milliseconds. */
  waitMs: number;
}

/** Everything that a variant of a function differs by. */
export interface Changes extends FunctionOptions {
  concurrency?: ConcurrencyParams;
  batching?: BatchingParams;
}

/** Returns options with those given later over those before. Throws {@link InvalidError} for values that make no sense. */
export function merge(before: Changes, given: Changes): Changes {
  const known = Object.entries(given).filter(([, value]) => value !== undefined);
  const merged: Changes = { ...before, ...Object.fromEntries(known) };
  toMessage(merged, []);
  return merged;
}

/** Returns the options for the server, their secrets made in an app. Undefined: nothing differs. */
export async function resolve(
  core: Core,
  changes: Changes,
  appId: string,
): Promise<FunctionOptionsMessage | undefined> {
  if (Object.keys(changes).length === 0) {
    return undefined;
  }
  return toMessage(changes, await secretIds(core, appId, changes.secrets ?? [], changes.env));
}

function toMessage(changes: Changes, ids: string[]): FunctionOptionsMessage {
  const { cpu, cpuLimit, memoryMiB, memoryLimitMiB } = changes;
  checkLimit("cpu", cpu, cpuLimit);
  checkLimit("memoryMiB", memoryMiB, memoryLimitMiB);
  const message = create(FunctionOptionsSchema, {
    cpuMilli: Math.round(1000 * positive("cpu", cpu, 1000)),
    cpuLimitMilli: Math.round(1000 * positive("cpuLimit", cpuLimit, 1000)),
    memoryMib: count("memoryMiB", memoryMiB, 64 << 20),
    memoryLimitMib: count("memoryLimitMiB", memoryLimitMiB, 64 << 20),
    secretIds: ids,
    maxContainers: count("maxContainers", changes.maxContainers, 100_000),
    bufferContainers: count("bufferContainers", changes.bufferContainers, 100_000),
  });
  if (changes.scaledownWindowMs !== undefined) {
    const bounds = { min: 1000, max: DAY_MS, wholeSeconds: true };
    message.scaledownWindow = toDuration(checkMs("scaledownWindowMs", changes.scaledownWindowMs, bounds));
  }
  if (changes.timeoutMs !== undefined) {
    message.timeout = toDuration(checkMs("timeoutMs", changes.timeoutMs, { min: 1000, max: DAY_MS }));
  }
  if (changes.retries !== undefined && changes.retries !== 0) {
    message.retries = retryPolicy(changes.retries);
  }
  const regions = [...(changes.regions ?? [])];
  const clouds = changes.cloud && changes.cloud !== "auto" ? [changes.cloud] : [];
  if (regions.length + clouds.length > 0) {
    message.placement = create(PlacementSchema, { regions, clouds });
  }
  if (changes.volumes !== undefined) {
    checkMountPaths(changes.volumes);
    message.volumeMounts = volumeMounts(changes.volumes);
  }
  if (changes.concurrency !== undefined) {
    const { maxInputs, targetInputs } = changes.concurrency;
    const max = required("maxInputs", maxInputs, 1000);
    const target = count("targetInputs", targetInputs, max);
    message.concurrency = create(ConcurrencySchema, { maxInputs: max, targetInputs: target });
  }
  if (changes.batching !== undefined) {
    const maxBatchSize = required("maxBatchSize", changes.batching.maxBatchSize, 1000);
    const wait = toDuration(checkMs("waitMs", changes.batching.waitMs, { max: 600_000 }));
    message.batching = create(BatchingSchema, { maxBatchSize, wait });
  }
  return message;
}

function checkLimit(noun: string, wanted: number | undefined, limit: number | undefined): void {
  if (wanted !== undefined && limit !== undefined && limit < wanted) {
    throw new InvalidError(`${noun}: the limit ${limit} is less than the request ${wanted}`);
  }
}

function positive(noun: string, value: number | undefined, most: number): number {
  if (value !== undefined && !(value > 0 && value <= most)) {
    throw new InvalidError(`${noun} ${value}: want a number above 0, at most ${most}`);
  }
  return value ?? 0;
}

function count(noun: string, value: number | undefined, most: number): number {
  if (value !== undefined && !Number.isInteger(value)) {
    throw new InvalidError(`${noun} ${value}: want a whole number`);
  }
  return positive(noun, value, most);
}

function required(noun: string, value: number, most: number): number {
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new InvalidError(`${noun} ${value}: want a whole number from 1 to ${most}`);
  }
  return value;
}
