import { describe, expect, test } from "vitest";
import { NotFoundError, RemoteError, SerializationError, TimeoutError } from "../../src/index.js";
import { collect, liveClient } from "./client.js";

const client = liveClient();
const APP = "ts-calls";

describe("functions of a deployed app", () => {
  test("remote runs one and returns its value", async () => {
    const square = await client().functions.fromName(APP, "square");
    expect(await square.remote([12])).toBe(144);
    expect(await square.remote([], { x: 5 })).toBe(25);
  });

  test("many at once are each answered", async () => {
    const square = await client().functions.fromName(APP, "square");
    const results = await Promise.all(Array.from({ length: 200 }, (_, i) => square.remote<number>([i])));
    expect(results).toEqual(Array.from({ length: 200 }, (_, i) => i * i));
  });

  test("values come back as they went", async () => {
    const echo = await client().functions.fromName(APP, "echo");
    const args = [1, -2, 1.5, "text", "", true, null, [1, [2]], { a: { b: 1 } }, 2n ** 70n, new Uint8Array([1, 2, 3])];
    const kwargs = { date: new Date(1_764_130_000_123), set: new Set([1, 2]), map: new Map([[1, "one"]]) };
    expect(await echo.remote(args, kwargs)).toEqual([args, kwargs]);
  });

  test("values have the types that Python programs expect", async () => {
    const kinds = await client().functions.fromName(APP, "kinds");
    expect(await kinds.remote([[1, 1.5, "a", null, true, [1], { a: 1 }, new Uint8Array([1]), 2n ** 65n]])).toEqual([
      "int 1",
      "float 1.5",
      "str 'a'",
      "NoneType None",
      "bool True",
      "list [1]",
      "dict {'a': 1}",
      "bytes b'\\x01'",
      "int 36893488147419103232",
    ]);
  });

  test("what Python returns has JavaScript's types", async () => {
    const moments = await client().functions.fromName(APP, "moments");
    expect(await moments.remote()).toEqual({
      moment: new Date("2026-11-26T04:05:06.789Z"),
      day: new Date("2026-11-26"),
      large: 2n ** 80n,
      set: new Set([1]),
      "by number": new Map([
        [1, "one"],
        [2, "two"],
      ]),
    });
  });

  test("large payloads go through the blob store, both ways", async () => {
    const echo = await client().functions.fromName(APP, "echo");
    const data = new Uint8Array(3 << 20).map((_, i) => i % 251);
    const [[back]] = await echo.remote<[[Uint8Array]]>([data]);
    expect(Buffer.compare(back, data)).toBe(0);
  });

  test("an exception has its type, text, traceback and cause", async () => {
    const fail = await client().functions.fromName(APP, "fail");
    const error = await fail.remote(["bread"]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RemoteError);
    const remote = error as RemoteError;
    expect(remote.message).toBe("no bread");
    expect(remote.remoteType).toBe("builtins.ValueError");
    expect(remote.remoteTraceback).toContain("raise ValueError");
    expect(remote.cause).toMatchObject({ name: "KeyError", message: "'bread'", remoteType: "builtins.KeyError" });
  });

  test("what can't be sent says so, on both sides", async () => {
    const echo = await client().functions.fromName(APP, "echo");
    await expect(echo.remote([() => 1])).rejects.toThrow(SerializationError);
    const unsendable = await client().functions.fromName(APP, "unsendable");
    await expect(unsendable.remote()).rejects.toThrow("a value of the type object can't be told to another language");
  });

  test("a name that is not there is named", async () => {
    await expect(client().functions.fromName(APP, "nothing")).rejects.toThrow(NotFoundError);
    await expect(client().functions.fromName(APP, "nothing")).rejects.toThrow("nothing");
  });

  test("an aborted call is cancelled", async () => {
    const slow = await client().functions.fromName(APP, "slow");
    const controller = new AbortController();
    const running = slow.remote([600], {}, { signal: controller.signal });
    controller.abort(new Error("not wanted any more"));
    await expect(running).rejects.toThrow("not wanted any more");
  });

  test("inputs run together and in batches", async () => {
    const together = await client().functions.fromName(APP, "together");
    expect(await Promise.all([1, 2, 3].map((x) => together.remote([x])))).toEqual([2, 3, 4]);
    const batch = await client().functions.fromName(APP, "batch");
    expect(await Promise.all([1, 2, 3, 4].map((x) => batch.remote([x])))).toEqual([1, 2, 3, 4]);
  });
});

describe("generators", () => {
  test("items come in order, more than a window of them", async () => {
    const count = await client().functions.fromName(APP, "count");
    const seen = await collect(count.remoteGen<{ i: number }>([2500]));
    expect(seen).toEqual(Array.from({ length: 2500 }, (_, i) => ({ i })));
  });

  test("an error comes after the items before it", async () => {
    const count = await client().functions.fromName(APP, "count_async");
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const item of count.remoteGen([3])) {
        seen.push(item);
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(seen).toEqual([0, 1, 2]);
  });
});

describe("calls that run by themselves", () => {
  test("are found again by id, by the same client and others", async () => {
    const square = await client().functions.fromName(APP, "square");
    const call = await square.spawn<number>([7]);
    expect(await call.get()).toBe(49);
    const found = await client().functionCalls.fromId<number>(call.functionCallId);
    expect(await found.get({ timeoutMs: 60_000 })).toBe(49);
  });

  test("get gives up after its time, and cancel ends the call", async () => {
    const slow = await client().functions.fromName(APP, "slow");
    const call = await slow.spawn([600]);
    await expect(call.get({ timeoutMs: 0 })).rejects.toThrow(TimeoutError);
    await call.cancel();
    await expect(call.get()).rejects.toThrow(RemoteError);
  });
});

describe("variants", () => {
  test("options are those of a function of its own", async () => {
    const environment = await client().functions.fromName(APP, "environment");
    const secret = client().secrets.fromObject({ MODE: "fast", NONE: null });
    const variant = await environment.withOptions({ secrets: [secret], env: { EXTRA: "1" } }).instance();
    expect(variant.functionId).not.toBe(environment.functionId);
    expect(await Promise.all(["MODE", "EXTRA", "NONE"].map((name) => variant.remote([name])))).toEqual([
      "fast",
      "1",
      null,
    ]);
    expect(await environment.remote(["MODE"])).toBeNull();
  });

  test("bounds of containers are set and counted", async () => {
    const square = await client().functions.fromName(APP, "square");
    const bounds = await square.updateAutoscaler({ maxContainers: 3, scaledownWindowMs: 120_000 });
    expect(bounds).toEqual({ minContainers: 0, maxContainers: 3, bufferContainers: 0, scaledownWindowMs: 120_000 });
    expect(await square.getCurrentStats()).toMatchObject({ backlog: 0 });
  });
});

describe("classes", () => {
  test("instances have parameters, and methods", async () => {
    const greeter = await client().cls.fromName(APP, "Greeter");
    const plain = await greeter.instance();
    const twice = await greeter.instance({ greeting: "hi", times: 2 });
    expect(await plain.method("greet").remote(["Ada"])).toBe("hello Ada");
    expect(await twice.method("greet").remote(["Ada"])).toBe("hi Ada hi Ada");
    expect(await collect(plain.method("letters").remoteGen(["A"]))).toEqual([..."hello A"]);
    await expect(greeter.instance({ times: "2" })).rejects.toThrow("want int");
    expect(() => plain.method("leave")).toThrow(NotFoundError);
  });

  test("constructors get their arguments", async () => {
    const constructed = await client().cls.fromName(APP, "Constructed");
    const made = await constructed.instance({ start: 3, names: ["a", "b"] });
    expect(await made.method("describe").remote()).toEqual({ start: 3, names: ["a", "b"] });
    expect(await (await constructed.instance()).method("describe").remote()).toEqual({ start: 0, names: [] });
  });
});
