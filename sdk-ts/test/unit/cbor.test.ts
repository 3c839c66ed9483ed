import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeValue, encodeValue, RemoteException } from "../../src/cbor.js";
import { DeserializationError, SerializationError } from "../../src/index.js";

interface Vector {
  name: string;
  value: Record<string, unknown>;
  hex: string;
  writes?: string[];
}

const vectors: Vector[] = JSON.parse(readFileSync(new URL("../../../docs/cbor.json", import.meta.url), "utf8"));

/** The value that a vector describes. */
function build(described: Record<string, unknown>): unknown {
  const [kind, value] = Object.entries(described)[0] ?? [];
  const list = (items: unknown): unknown[] => (items as Record<string, unknown>[]).map(build);
  switch (kind) {
    case "null":
      return null;
    case "int": {
      const number = BigInt(value as string);
      return Number.isSafeInteger(Number(number)) ? Number(number) : number;
    }
    case "float":
      return Number(value);
    case "bytes":
      return new Uint8Array(Buffer.from(value as string, "hex"));
    case "list":
      return list(value);
    case "set":
      return new Set(list(value));
    case "map": {
      const pairs = (value as [Record<string, unknown>, Record<string, unknown>][]).map(
        ([key, item]) => [build(key), build(item)] as const,
      );
      return pairs.every(([key]) => typeof key === "string") ? Object.fromEntries(pairs) : new Map(pairs);
    }
    case "moment":
    case "day":
      return new Date(value as string);
    default:
      return value;
  }
}

const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");

describe("docs/cbor.json", () => {
  test.each(vectors)("$name", (vector) => {
    const read = decodeValue(Buffer.from(vector.hex, "hex"));
    if ("error" in vector.value) {
      expect(read).toBeInstanceOf(RemoteException);
      expect(read).toMatchObject({ name: "ValueError", message: "no", cause: { name: "KeyError", message: "'a'" } });
      return;
    }
    const value = build(vector.value);
    expect(read ?? null).toEqual(value);
    if ((vector.writes ?? ["typescript"]).includes("typescript")) {
      expect(hex(encodeValue(value))).toBe(vector.hex);
    }
  });
});

test("errors tell their causes", () => {
  const error = new RangeError("outside", { cause: new TypeError("inside") });
  const read = decodeValue(encodeValue({ error }));
  expect(read).toMatchObject({ error: { name: "RangeError", message: "outside", cause: { name: "TypeError" } } });
});

test("a key may be called __proto__", () => {
  const read = decodeValue(Buffer.from("a1695f5f70726f746f5f5f01", "hex")) as object;
  expect(Object.keys(read)).toEqual(["__proto__"]);
  expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
});

test("buffers are bytes, and undefined is null elsewhere", () => {
  expect(hex(encodeValue([Buffer.from("a"), undefined]))).toBe("824161f7");
});

test.each([() => 1, Symbol("a"), /a/, new Float64Array(1), new Date(Number.NaN), Promise.resolve(1)])(
  "%s can't be sent",
  (value) => {
    expect(() => encodeValue([value], "the arguments of f")).toThrow(SerializationError);
    expect(() => encodeValue([value], "the arguments of f")).toThrow("the arguments of f");
  },
);

test("what contains itself can't be sent", () => {
  const endless: unknown[] = [];
  endless.push(endless);
  expect(() => encodeValue(endless)).toThrow(SerializationError);
});

test.each(["", "18", "81", "ff", "c001", "d9ffff01", "0000", "d81b8161", "c2", "5b7fffffffffffffff"])(
  "damaged bytes %s are refused",
  (data) => {
    expect(() => decodeValue(Buffer.from(data, "hex"))).toThrow(DeserializationError);
  },
);
