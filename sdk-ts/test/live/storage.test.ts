/** Dicts and queues, from here and together with Python. */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, inject, test } from "vitest";
import {
  DeserializationError,
  InvalidError,
  NotFoundError,
  QueueEmptyError,
  QueueFullError,
  RequestSizeError,
} from "../../src/index.js";
import { collect, liveClient } from "./client.js";
import { ROOT } from "./daemon.js";

const client = liveClient();

/** Runs a Python program with the SDK to its end and returns what it prints. */
async function python(source: string): Promise<string> {
  const env = { ...process.env, SKERRY_CONFIG_PATH: inject("configPath") };
  const { stdout } = await promisify(execFile)(join(ROOT, ".venv/bin/python"), ["-c", source], { env });
  return stdout.trim();
}

describe("dicts", () => {
  test("keep values under keys", async () => {
    await using dict = await client().dicts.ephemeral();
    expect(dict.name).toBeUndefined();
    expect(await dict.put("a", { n: [1, 2.5, null, true] })).toBe(true);
    expect(await dict.get("a")).toEqual({ n: [1, 2.5, null, true] });
    expect(await dict.get("b")).toBeUndefined();
    expect(await dict.put("a", 2, { skipIfExists: true })).toBe(false);
    await dict.update({ b: 2, c: "three" });
    await dict.update(new Map<unknown, unknown>([[1, "one"]]));
    expect(await dict.len()).toBe(4);
    expect(await dict.contains(1)).toBe(true);
    expect(await dict.contains("1")).toBe(false);
    expect(await dict.pop("c")).toBe("three");
    expect(await dict.pop("c")).toBeUndefined();
    expect(new Set(await collect(dict.keys()))).toEqual(new Set(["a", "b", 1]));
    expect(new Map(await collect(dict.items())).get(1)).toBe("one");
    expect((await collect(dict.values())).length).toBe(3);
    const large = Buffer.alloc(3_000_000, 7);
    await dict.put("large", large);
    expect(large.equals((await dict.get("large")) as Uint8Array)).toBe(true);
    await expect(dict.update(Array.from({ length: 10_001 }, (_, n) => [n, n] as const))).rejects.toThrow(
      RequestSizeError,
    );
    await dict.clear();
    expect(await dict.len()).toBe(0);
  });

  test("have names", async () => {
    await expect(client().dicts.fromName("ts-missing")).rejects.toThrow(NotFoundError);
    await expect(client().dicts.fromName("no/slash")).rejects.toThrow(InvalidError);
    const made = await client().dicts.fromName("ts-dict", { createIfMissing: true });
    await made.put("a", 1);
    const same = await client().dicts.fromId(made.dictId);
    expect(same.name).toBe("ts-dict");
    expect(await same.get("a")).toBe(1);
    await client().dicts.delete("ts-dict");
    await client().dicts.delete("ts-dict", { allowMissing: true });
    await expect(client().dicts.delete("ts-dict")).rejects.toThrow(NotFoundError);
    await expect(made.get("a")).rejects.toThrow(NotFoundError);
  });
});

describe("queues", () => {
  test("keep items in order", async () => {
    await using queue = await client().queues.ephemeral();
    await queue.put({ id: 1 });
    await queue.putMany([2, "three"]);
    await queue.put("other", { partition: "p", partitionTtlMs: 60_000 });
    expect(await queue.len()).toBe(3);
    expect(await queue.len({ total: true })).toBe(4);
    expect(await collect(queue.iterate())).toEqual([{ id: 1 }, 2, "three"]);
    expect(await queue.get()).toEqual({ id: 1 });
    expect(await queue.getMany(10)).toEqual([2, "three"]);
    await expect(queue.get({ timeoutMs: 0 })).rejects.toThrow(QueueEmptyError);
    const waiting = queue.get();
    await queue.put("late");
    expect(await waiting).toBe("late");
    await queue.putMany(Array.from({ length: 5000 }, (_, n) => n));
    await expect(queue.put(1, { timeoutMs: 10 })).rejects.toThrow(QueueFullError);
    await queue.clear({ all: true });
    expect(await queue.len({ total: true })).toBe(0);
    await expect(queue.put("x".repeat(1 << 20))).rejects.toThrow(RequestSizeError);
    await expect(queue.put(1, { partition: "" })).rejects.toThrow(InvalidError);
    await expect(queue.len({ partition: "p", total: true })).rejects.toThrow(InvalidError);
  });

  test("are shared with Python", async () => {
    const jobs = await client().queues.fromName("ts-jobs", { createIfMissing: true });
    const done = await client().dicts.fromName("ts-done", { createIfMissing: true });
    await jobs.putMany([{ id: 1, parts: [1, 2.5, "x", null, new Uint8Array([1, 2])] }, "last"]);
    await done.put("name", "from here");
    const told = await python(`
import skerry
jobs = skerry.Queue.from_name("ts-jobs")
done = skerry.Dict.from_name("ts-done")
print(jobs.get_many(2), done["name"])
done.update({"name": "from Python", 1: [1, {"a": None}], 1.5: True, b"x": "bytes", (1,): 1})
jobs.put_many([{"id": 2}, {1, 2}])
`);
    expect(told).toBe("[{'id': 1, 'parts': [1, 2.5, 'x', None, b'\\x01\\x02']}, 'last'] from here");
    expect(await done.get("name")).toBe("from Python");
    expect(await done.get(1)).toEqual([1, { a: null }]);
    expect(await done.get(1.5)).toBe(true);
    expect(await done.get(new Uint8Array([0x78]))).toBe("bytes");
    expect(await done.len()).toBe(5);
    expect(await jobs.get()).toEqual({ id: 2 });
    await expect(jobs.get()).rejects.toThrow(DeserializationError);
    await client().queues.delete("ts-jobs");
    await client().dicts.delete("ts-done");
  });
});
