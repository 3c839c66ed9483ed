/**
 * Values to bytes and back: CBOR (RFC 8949) as `docs/cbor.md` describes it, which the Python SDK and the runner in containers speak too.
 */

import { type DecodeOptions, decode, type EncodeOptions, encode, objectToTokens, Tagged } from "cborg";
import { DeserializationError, SerializationError } from "./errors.js";

/** Tags of RFC 8949 and of its registry. */
const TAG_DATETIME = 0;
const TAG_EPOCH = 1;
const TAG_POSITIVE_BIGNUM = 2;
const TAG_NEGATIVE_BIGNUM = 3;
const TAG_OBJECT = 27;
const TAG_UUID = 37;
const TAG_SET = 258;
const TAG_DATE = 1004;

const MAX_UINT64 = 2n ** 64n - 1n;
/** How many causes of an error travel with it. */
const MAX_CAUSES = 20;

type Encoder = NonNullable<EncodeOptions["typeEncoders"]>[string];

/** What can't be told to another language; without this cborg would make a map or bytes of it. */
const REFUSED = [
  ...["Function", "symbol", "Promise", "WeakMap", "WeakSet", "RegExp", "URL", "DataView", "SharedArrayBuffer"],
  ...["Int8Array", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array"],
  ...["BigInt64Array", "BigUint64Array"],
];

const encodeTagged =
  <T>(tag: number, content: (value: T) => unknown): Encoder =>
  (value: T, _type, options, stack) =>
    objectToTokens(new Tagged(tag, content(value)), options, stack);

const encoding: EncodeOptions = {
  // All floats alike, as the other side writes them.
  float64: true,
  // The order of keys is the program's: without this they would be sorted.
  mapSorter: () => 0,
  typeEncoders: {
    bigint: (value: bigint, _type, options, stack) =>
      value > MAX_UINT64 || value < -1n - MAX_UINT64 ? objectToTokens(bignum(value), options, stack) : null,
    Date: encodeTagged(TAG_DATETIME, formatDate),
    Set: encodeTagged(TAG_SET, (value: ReadonlySet<unknown>) => [...value]),
    Error: encodeTagged(TAG_OBJECT, (value: Error) => ["Error", describe(value, 0)]),
    ...Object.fromEntries(REFUSED.map((name) => [name, refuse])),
  },
};

const decoding: DecodeOptions = {
  useMaps: true,
  allowBigInt: true,
  tags: {
    [TAG_DATETIME]: (content) => parseDate(content()),
    [TAG_EPOCH]: (content) => new Date(Number(content()) * 1000),
    [TAG_POSITIVE_BIGNUM]: (content) => parseBignum(content()),
    [TAG_NEGATIVE_BIGNUM]: (content) => -1n - parseBignum(content()),
    [TAG_OBJECT]: (content) => new TaggedObject(content()),
    [TAG_UUID]: (content) => parseUuid(content()),
    [TAG_SET]: (content) => new Set(asArray(content())),
    [TAG_DATE]: (content) => parseDate(content()),
  },
};

/** Returns the CBOR of a value. Throws {@link SerializationError}, which names `what`. */
export function encodeValue(value: unknown, what = "the value"): Uint8Array {
  try {
    return encode(value, encoding);
  } catch (error) {
    throw new SerializationError(`${what} can't be sent as CBOR: ${text(error)}`, { cause: error });
  }
}

/** Returns the value of CBOR. Throws {@link DeserializationError}, which names `what`. */
export function decodeValue(data: Uint8Array, what = "the value"): unknown {
  try {
    return plain(decode(data, decoding));
  } catch (error) {
    throw new DeserializationError(`${what} can't be read as CBOR: ${text(error)}`, { cause: error });
  }
}

/** An exception as one language describes it to another. */
interface Description {
  type: string;
  message: string;
  traceback: string;
  cause: unknown;
}

/**
 * An exception of another language among values, or as the cause of an error.
 *
 * Its `name` is that of the exception's type, such as "ValueError", and its `cause` what caused it.
 */
export class RemoteException extends Error {
  /** Qualified name of its type, such as "builtins.ValueError". */
  readonly remoteType: string;
  /** The formatted remote traceback; may be empty. */
  readonly remoteTraceback: string;

  /** @internal */
  constructor(described: Description) {
    super(described.message, described.cause === undefined ? undefined : { cause: described.cause });
    this.remoteType = described.type;
    this.remoteTraceback = described.traceback;
    this.name = described.type.replace(/^builtins\./, "") || "Error";
  }
}

/** The content of tag 27 until everything inside has been read. */
class TaggedObject {
  constructor(readonly content: unknown) {}
}

function describe(error: Error, depth: number): Record<string, unknown> {
  const described: Record<string, unknown> = {
    type: error instanceof RemoteException ? error.remoteType : error.name,
    message: error.message,
    traceback: (error instanceof RemoteException ? error.remoteTraceback : error.stack) ?? "",
  };
  if (error.cause instanceof Error && depth < MAX_CAUSES) {
    described["cause"] = describe(error.cause, depth + 1);
  }
  return described;
}

/** Makes of maps what JavaScript programs expect: objects where all keys are texts. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(plain);
  }
  if (value instanceof Map) {
    return plainMap(value);
  }
  if (value instanceof Set) {
    return new Set([...value].map(plain));
  }
  if (value instanceof TaggedObject) {
    return parseObject(value.content);
  }
  return value;
}

function plainMap(map: ReadonlyMap<unknown, unknown>): unknown {
  for (const key of map.keys()) {
    if (typeof key !== "string") {
      return new Map([...map].map(([k, v]) => [plain(k), plain(v)]));
    }
  }
  // Defined, not assigned: a key may be "__proto__".
  return Object.fromEntries([...map].map(([key, item]) => [key, plain(item)]));
}

function parseObject(content: unknown): unknown {
  const [kind, fields] = asArray(content);
  if (kind !== "Error" || !(fields instanceof Map)) {
    throw new Error(`an object of the kind ${String(kind)} is not known`);
  }
  return parseError(fields, 0);
}

function parseError(fields: ReadonlyMap<unknown, unknown>, depth: number): RemoteException {
  const cause = fields.get("cause");
  const field = (name: string): string => String(fields.get(name) ?? "");
  return new RemoteException({
    type: field("type"),
    message: field("message"),
    traceback: field("traceback"),
    cause: cause instanceof Map && depth < MAX_CAUSES ? parseError(cause, depth + 1) : undefined,
  });
}

function formatDate(date: Date): string {
  if (Number.isNaN(date.getTime())) {
    throw new Error("a Date that is no moment");
  }
  return date.toISOString();
}

function parseDate(content: unknown): Date {
  const date = new Date(typeof content === "string" ? content : Number.NaN);
  if (Number.isNaN(date.getTime())) {
    throw new Error(`'${String(content)}' is no moment that Date has`);
  }
  return date;
}

function bignum(value: bigint): Tagged {
  const positive = value >= 0n;
  const hex = (positive ? value : -1n - value).toString(16);
  const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex");
  return new Tagged(positive ? TAG_POSITIVE_BIGNUM : TAG_NEGATIVE_BIGNUM, bytes);
}

function parseBignum(content: unknown): bigint {
  const hex = Buffer.from(asBytes(content)).toString("hex");
  return BigInt(`0x${hex || "0"}`);
}

function parseUuid(content: unknown): string {
  const hex = Buffer.from(asBytes(content)).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function asArray(content: unknown): unknown[] {
  if (!Array.isArray(content)) {
    throw new Error("a tag that wants a list has none");
  }
  return content;
}

function asBytes(content: unknown): Uint8Array {
  if (!(content instanceof Uint8Array)) {
    throw new Error("a tag that wants bytes has none");
  }
  return content;
}

function refuse(_value: unknown, type: string): never {
  throw new Error(`a value of the type ${type}; send plain values, bytes as Uint8Array`);
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
