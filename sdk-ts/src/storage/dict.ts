/** Dicts: values under keys, for everything in an environment. */

import { create } from "@bufbuild/protobuf";
import { makePayload, readPayload } from "../blobs.js";
import { decodeValue, encodeValue } from "../cbor.js";
import type { Core } from "../core.js";
import { RequestSizeError } from "../errors.js";
import { type DictEntry, DictEntrySchema, DictService as DictRpcs } from "../gen/skerry/v1/dict_pb.js";
import { type Payload, PayloadFormat, PayloadSchema } from "../gen/skerry/v1/payload_pb.js";
import {
  EphemeralRegistry,
  type Life,
  newRequestId,
  type ObjectDeleteParams,
  type ObjectEphemeralParams,
  type ObjectFromNameParams,
} from "./named.js";

const MAX_KEY_BYTES = 32 << 10;
const MAX_UPDATE_ENTRIES = 10_000;
const MAX_UPDATE_BYTES = 32 << 20;

/** Parameters of {@link Dict.put}. */
export interface DictPutParams {
  /** Leave the value that is there alone. Of many who do it at once, one gets `true`. */
  skipIfExists?: boolean;
}

/**
 * Values under keys, shared by everything in an environment. Get one from {@link DictService}.
 *
 * Keys and values are what `docs/cbor.md` lists. Python's keys of text, numbers, bytes and booleans are the same keys; a value that only
 * Python can read is a {@link DeserializationError}. An entry goes seven days after it was last read or written.
 */
export class Dict implements AsyncDisposable {
  /** "di-...". */
  readonly dictId: string;
  /** Its name; undefined: it is ephemeral. */
  readonly name: string | undefined;
  readonly #core: Core;
  readonly #life: Life | undefined;

  /** @internal */
  constructor(core: Core, dictId: string, name: string, life?: Life) {
    this.#core = core;
    this.dictId = dictId;
    this.name = name || undefined;
    this.#life = life;
  }

  /** Returns the value of a key; undefined: it has none. */
  async get(key: unknown): Promise<unknown> {
    const request = { dictId: this.dictId, key: keyOf(key) };
    const { value } = await this.#core.call(() => this.#rpcs.getDictEntry(request));
    return await readPayload(this.#core, value, "the value");
  }

  /** Gives a key its value. Returns false where `skipIfExists` left a value alone. */
  async put(key: unknown, value: unknown, params: DictPutParams = {}): Promise<boolean> {
    const request = {
      dictId: this.dictId,
      entry: await this.#entry(key, value),
      onlyIfMissing: params.skipIfExists ?? false,
      requestId: newRequestId(),
    };
    return (await this.#core.call(() => this.#rpcs.putDictEntry(request))).created;
  }

  /**
   * Gives many keys their values, all or none of them.
   *
   * At most 10,000 entries of together 32 MiB, or {@link RequestSizeError} is thrown; values over 512 KiB don't count.
   */
  async update(entries: Iterable<readonly [unknown, unknown]> | Readonly<Record<string, unknown>>): Promise<void> {
    const list = Symbol.iterator in entries ? [...entries] : Object.entries(entries);
    if (list.length > MAX_UPDATE_ENTRIES) {
      throw new RequestSizeError(`update: ${list.length} entries; the most is ${MAX_UPDATE_ENTRIES} at a time`);
    }
    const request: { dictId: string; entries: DictEntry[] } = { dictId: this.dictId, entries: [] };
    let size = 0;
    for (const [key, value] of list) {
      const entry = await this.#entry(key, value);
      size += inlineSize(entry.key) + inlineSize(entry.value);
      if (size > MAX_UPDATE_BYTES) {
        throw new RequestSizeError("update: over 32 MiB; update fewer keys at a time");
      }
      request.entries.push(entry);
    }
    if (list.length > 0) {
      await this.#core.call(() => this.#rpcs.updateDict(request));
    }
  }

  /** Removes a key and returns its value, which nobody else gets then; undefined: it had none. */
  async pop(key: unknown): Promise<unknown> {
    const request = { dictId: this.dictId, key: keyOf(key), requestId: newRequestId() };
    const { value } = await this.#core.call(() => this.#rpcs.popDictEntry(request));
    return await readPayload(this.#core, value, "the value");
  }

  /** Tells whether a key has a value. */
  async contains(key: unknown): Promise<boolean> {
    const request = { dictId: this.dictId, key: keyOf(key) };
    return (await this.#core.call(() => this.#rpcs.hasDictEntry(request))).found;
  }

  /** Returns how many entries there are. */
  async len(): Promise<number> {
    return Number((await this.#core.call(() => this.#rpcs.countDict({ dictId: this.dictId }))).count);
  }

  /** Removes all entries. */
  async clear(): Promise<void> {
    await this.#core.call(() => this.#rpcs.clearDict({ dictId: this.dictId }));
  }

  /** Yields the keys, in no order. What is there all the time comes; what is changed meanwhile may come twice. */
  async *keys(): AsyncGenerator<unknown, void, undefined> {
    for await (const entry of this.#entries(true)) {
      yield readKey(entry);
    }
  }

  /** Yields the values, as {@link keys} does the keys. */
  async *values(): AsyncGenerator<unknown, void, undefined> {
    for await (const entry of this.#entries(false)) {
      yield await readPayload(this.#core, entry.value, "the value");
    }
  }

  /** Yields pairs of a key and its value, as {@link keys} does the keys. */
  async *items(): AsyncGenerator<[unknown, unknown], void, undefined> {
    for await (const entry of this.#entries(false)) {
      yield [readKey(entry), await readPayload(this.#core, entry.value, "the value")];
    }
  }

  /** Deletes an ephemeral dict now. Does nothing to one with a name. */
  closeEphemeral(): void {
    void this.#life?.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life?.end();
  }

  get #rpcs() {
    return this.#core.rpc(DictRpcs);
  }

  async #entry(key: unknown, value: unknown): Promise<DictEntry> {
    return create(DictEntrySchema, { key: keyOf(key), value: await makePayload(this.#core, value, "the value") });
  }

  async *#entries(keysOnly: boolean): AsyncGenerator<DictEntry, void, undefined> {
    const request = { dictId: this.dictId, keysOnly, after: 0n };
    for await (const answer of this.#core.resume(this.#core.closing, (signal) =>
      this.#rpcs.readDict(request, { signal }),
    )) {
      yield* answer.entries;
      request.after = answer.cursor;
    }
  }
}

/** Dicts. Get it as {@link SkerryClient.dicts}. */
export class DictService {
  readonly #registry: EphemeralRegistry;

  /** @internal */
  constructor(core: Core) {
    const rpcs = core.rpc(DictRpcs);
    this.#registry = new EphemeralRegistry(core, {
      noun: "dict",
      prefix: "di",
      get: (name, environment, creation) => rpcs.getDict({ name, environment, creation }),
      describe: (dictId) => rpcs.describeDict({ dictId }),
      remove: (dictId) => rpcs.deleteDict({ dictId }),
      keep: (dictId) => rpcs.keepDict({ dictId }),
    });
  }

  /** Returns the dict that has a name. Throws {@link NotFoundError}, unless `createIfMissing` is given. */
  async fromName(name: string, params: ObjectFromNameParams = {}): Promise<Dict> {
    const info = await this.#registry.fromName(name, params);
    return new Dict(this.#registry.core, info.id, info.name);
  }

  /** Returns the dict that has an id, "di-...". Throws {@link NotFoundError}. */
  async fromId(dictId: string): Promise<Dict> {
    const info = await this.#registry.fromId(dictId);
    return new Dict(this.#registry.core, info.id, info.name);
  }

  /** Makes a dict without a name, for `await using`. It goes two minutes after this process, or with {@link Dict.closeEphemeral}. */
  async ephemeral(params: ObjectEphemeralParams = {}): Promise<Dict> {
    const { info, life } = await this.#registry.ephemeral(params);
    return new Dict(this.#registry.core, info.id, info.name, life);
  }

  /** Deletes a dict with all its entries, for good. Throws {@link NotFoundError}, unless `allowMissing` is given. */
  async delete(name: string, params: ObjectDeleteParams = {}): Promise<void> {
    await this.#registry.delete(name, params);
  }
}

function keyOf(key: unknown): Payload {
  const data = encodeValue(key, "the key");
  if (data.length > MAX_KEY_BYTES) {
    throw new RequestSizeError(`a key takes ${data.length} bytes; the most is 32 KiB`);
  }
  return create(PayloadSchema, { format: PayloadFormat.CBOR, content: { case: "inline", value: data } });
}

/** Returns a key; one that Python alone can read is its bytes as they are. */
function readKey(entry: DictEntry): unknown {
  const data = entry.key?.content.case === "inline" ? entry.key.content.value : new Uint8Array();
  return entry.key?.format === PayloadFormat.CBOR ? decodeValue(data, "the key") : data;
}

function inlineSize(payload: Payload | undefined): number {
  return payload?.content.case === "inline" ? payload.content.value.length : 0;
}
