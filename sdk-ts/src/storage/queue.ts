/** Queues: items that are taken in the order in which they were put, for everything in an environment. */

import { create } from "@bufbuild/protobuf";
import { decodeValue, encodeValue } from "../cbor.js";
import type { Core } from "../core.js";
import { checkMs, toDuration } from "../duration.js";
import { DeserializationError, InvalidError, QueueEmptyError, QueueFullError, RequestSizeError } from "../errors.js";
import { PayloadFormat } from "../gen/skerry/v1/payload_pb.js";
import { type QueueItem, QueueItemSchema, QueueService as QueueRpcs } from "../gen/skerry/v1/queue_pb.js";
import {
  EphemeralRegistry,
  type Life,
  newRequestId,
  type ObjectDeleteParams,
  type ObjectEphemeralParams,
  type ObjectFromNameParams,
} from "./named.js";

const MAX_ITEM_BYTES = 1 << 20;
const MAX_ITEMS = 5000;
const MAX_PUT_BYTES = 32 << 20;
const MAX_PARTITION_BYTES = 64;
const DAY_MS = 86_400_000;
/** How long one request waits at the server: the wait goes on with the next one. */
const WAIT_MS = 50_000;

/** Parameters of {@link Queue.get} and {@link Queue.getMany}. */
export interface QueueGetParams {
  /** How long to wait for an item; default: for ever. 0: not at all. */
  timeoutMs?: number;
  /** Which queue of this queue, 1 to 64 bytes; default: the one without a name. */
  partition?: string;
}

/** Parameters of {@link Queue.put} and {@link Queue.putMany}. */
export interface QueuePutParams {
  /** How long to wait for room; default: for ever. 0: not at all. */
  timeoutMs?: number;
  /** Which queue of this queue, 1 to 64 bytes; default: the one without a name. */
  partition?: string;
  /** How long the partition lives when nothing more is put into it: 1 s to 7 days; default: 24 hours. */
  partitionTtlMs?: number;
}

/** Parameters of {@link Queue.len}. */
export interface QueueLenParams {
  /** Which queue of this queue. */
  partition?: string;
  /** All of them together. */
  total?: boolean;
}

/** Parameters of {@link Queue.iterate}. */
export interface QueueIterateParams {
  /** How long to wait for the next item before the end; default: 0. */
  itemPollTimeoutMs?: number;
  /** Which queue of this queue. */
  partition?: string;
}

/** Parameters of {@link Queue.clear}. */
export interface QueueClearParams {
  /** Which queue of this queue. */
  partition?: string;
  /** All of them, at once. */
  all?: boolean;
}

/**
 * Items that are taken in the order in which they were put, shared by everything in an environment. Get one from {@link QueueService}.
 *
 * Items are what `docs/cbor.md` lists; one that only Python can read is a {@link DeserializationError}. Each is got once, by who waits longest.
 */
export class Queue implements AsyncDisposable {
  /** "qu-...". */
  readonly queueId: string;
  /** Its name; undefined: it is ephemeral. */
  readonly name: string | undefined;
  readonly #core: Core;
  readonly #life: Life | undefined;

  /** @internal */
  constructor(core: Core, queueId: string, name: string, life?: Life) {
    this.#core = core;
    this.queueId = queueId;
    this.name = name || undefined;
    this.#life = life;
  }

  /** Takes the first item. Throws {@link QueueEmptyError} if there is none in time. */
  async get(params: QueueGetParams = {}): Promise<unknown> {
    const [item] = await this.getMany(1, params);
    return item;
  }

  /** Takes up to `count` items: those that are there, and at least one. Throws {@link QueueEmptyError} if there is none in time. */
  async getMany(count: number, params: QueueGetParams = {}): Promise<unknown[]> {
    if (!Number.isInteger(count) || count < 1) {
      throw new InvalidError(`getMany: count is ${count}; want 1 or more`);
    }
    const request = {
      queueId: this.queueId,
      partition: partitionOf(params.partition),
      count: Math.min(count, MAX_ITEMS),
      requestId: newRequestId(),
    };
    const items = await this.#patiently(params.timeoutMs, async (waitMs) => {
      const wait = toDuration(waitMs);
      const signal = this.#core.closing;
      const answer = await this.#core.call(() => this.#rpcs.takeQueueItems({ ...request, wait }, { signal }));
      return answer.items.length > 0 ? answer.items : undefined;
    });
    if (items === undefined) {
      throw new QueueEmptyError(`queue ${this.name ?? this.queueId} has no item`);
    }
    return items.map(read);
  }

  /** Puts an item at the end. Throws {@link QueueFullError} if there is no room in time. */
  async put(value: unknown, params: QueuePutParams = {}): Promise<void> {
    await this.putMany([value], params);
  }

  /** Puts items at the end, all or none of them. Throws {@link QueueFullError} if there is no room in time, {@link RequestSizeError}. */
  async putMany(values: readonly unknown[], params: QueuePutParams = {}): Promise<void> {
    const ttl = toDuration(checkMs("partitionTtlMs", params.partitionTtlMs ?? DAY_MS, { min: 1000, max: 7 * DAY_MS }));
    const partition = partitionOf(params.partition);
    if (values.length === 0) {
      return;
    }
    const request = { queueId: this.queueId, partition, items: items(values), ttl, requestId: newRequestId() };
    const done = await this.#patiently(params.timeoutMs, async (waitMs) => {
      const wait = toDuration(waitMs);
      const signal = this.#core.closing;
      const answer = await this.#core.call(() => this.#rpcs.putQueueItems({ ...request, wait }, { signal }));
      return answer.full ? undefined : true;
    });
    if (!done) {
      throw new QueueFullError(`queue ${this.name ?? this.queueId} has no room`);
    }
  }

  /** Returns how many items there are. */
  async len(params: QueueLenParams = {}): Promise<number> {
    const total = params.total ?? false;
    if (total && params.partition !== undefined) {
      throw new InvalidError("len: either partition or total, not both");
    }
    const request = { queueId: this.queueId, partition: partitionOf(params.partition), total };
    return Number((await this.#core.call(() => this.#rpcs.countQueue(request))).count);
  }

  /** Yields the items without taking them, and those that are put while it waits. */
  async *iterate(params: QueueIterateParams = {}): AsyncGenerator<unknown, void, undefined> {
    const wait = toDuration(checkMs("itemPollTimeoutMs", params.itemPollTimeoutMs ?? 0, { min: 0 }));
    const request = { queueId: this.queueId, partition: partitionOf(params.partition), wait, after: 0n };
    for await (const answer of this.#core.resume(this.#core.closing, (signal) =>
      this.#rpcs.readQueue(request, { signal }),
    )) {
      yield* answer.items.map(read);
      request.after = answer.cursor;
    }
  }

  /** Removes all items of a partition, or of all partitions at once. */
  async clear(params: QueueClearParams = {}): Promise<void> {
    const all = params.all ?? false;
    if (all && params.partition !== undefined) {
      throw new InvalidError("clear: either partition or all, not both");
    }
    const request = { queueId: this.queueId, partition: partitionOf(params.partition), all };
    await this.#core.call(() => this.#rpcs.clearQueue(request));
  }

  /** Deletes an ephemeral queue now. Does nothing to one with a name. */
  closeEphemeral(): void {
    void this.#life?.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life?.end();
  }

  get #rpcs() {
    return this.#core.rpc(QueueRpcs);
  }

  /** Does a request until it brings something or the time is over. */
  async #patiently<T>(timeoutMs: number | undefined, attempt: (waitMs: number) => Promise<T | undefined>) {
    const limit = timeoutMs === undefined ? Number.POSITIVE_INFINITY : checkMs("timeoutMs", timeoutMs, { min: 0 });
    const end = performance.now() + limit;
    for (;;) {
      const left = Math.min(Math.max(end - performance.now(), 0), WAIT_MS);
      const result = await attempt(Math.round(left));
      if (result !== undefined || performance.now() >= end) {
        return result;
      }
    }
  }
}

/** Queues. Get it as {@link SkerryClient.queues}. */
export class QueueService {
  readonly #registry: EphemeralRegistry;

  /** @internal */
  constructor(core: Core) {
    const rpcs = core.rpc(QueueRpcs);
    this.#registry = new EphemeralRegistry(core, {
      noun: "queue",
      prefix: "qu",
      get: (name, environment, creation) => rpcs.getQueue({ name, environment, creation }),
      describe: (queueId) => rpcs.describeQueue({ queueId }),
      remove: (queueId) => rpcs.deleteQueue({ queueId }),
      keep: (queueId) => rpcs.keepQueue({ queueId }),
    });
  }

  /** Returns the queue that has a name. Throws {@link NotFoundError}, unless `createIfMissing` is given. */
  async fromName(name: string, params: ObjectFromNameParams = {}): Promise<Queue> {
    const info = await this.#registry.fromName(name, params);
    return new Queue(this.#registry.core, info.id, info.name);
  }

  /** Returns the queue that has an id, "qu-...". Throws {@link NotFoundError}. */
  async fromId(queueId: string): Promise<Queue> {
    const info = await this.#registry.fromId(queueId);
    return new Queue(this.#registry.core, info.id, info.name);
  }

  /** Makes a queue without a name, for `await using`. It goes two minutes after this process, or with {@link Queue.closeEphemeral}. */
  async ephemeral(params: ObjectEphemeralParams = {}): Promise<Queue> {
    const { info, life } = await this.#registry.ephemeral(params);
    return new Queue(this.#registry.core, info.id, info.name, life);
  }

  /** Deletes a queue with all its items, for good. Throws {@link NotFoundError}, unless `allowMissing` is given. */
  async delete(name: string, params: ObjectDeleteParams = {}): Promise<void> {
    await this.#registry.delete(name, params);
  }
}

function partitionOf(partition: string | undefined): Uint8Array {
  if (partition === undefined) {
    return new Uint8Array();
  }
  const key = new TextEncoder().encode(partition);
  if (key.length < 1 || key.length > MAX_PARTITION_BYTES) {
    throw new InvalidError(`a partition key of ${key.length} bytes; want 1 to ${MAX_PARTITION_BYTES}`);
  }
  return key;
}

function items(values: readonly unknown[]): QueueItem[] {
  if (values.length > MAX_ITEMS) {
    throw new RequestSizeError(`${values.length} items at once; the most is ${MAX_ITEMS}`);
  }
  let size = 0;
  return values.map((value) => {
    const data = encodeValue(value, "the item");
    size += data.length;
    if (data.length > MAX_ITEM_BYTES) {
      throw new RequestSizeError(`an item takes ${data.length} bytes; the most is 1 MiB`);
    }
    if (size > MAX_PUT_BYTES) {
      throw new RequestSizeError("items of over 32 MiB at once; put fewer at a time");
    }
    return create(QueueItemSchema, { format: PayloadFormat.CBOR, data });
  });
}

function read(item: QueueItem): unknown {
  if (item.format !== PayloadFormat.CBOR) {
    throw new DeserializationError(
      "an item of the queue is a Python pickle, which only Python reads: put plain values there",
    );
  }
  return decodeValue(item.data, "an item");
}
