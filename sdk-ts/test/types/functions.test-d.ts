import { expectTypeOf, test } from "vitest";
import { type FunctionCall, RemoteError, type Secret, SkerryClient, type SkerryError } from "../../src/index.js";

test("results are unknown unless the program says what they are", async () => {
  const client = new SkerryClient();
  const f = await client.functions.fromName("app", "f");
  expectTypeOf(await f.remote()).toBeUnknown();
  expectTypeOf(await f.remote<number>([1], { key: "value" })).toBeNumber();
  expectTypeOf(await f.spawn<string>()).toEqualTypeOf<FunctionCall<string>>();
  expectTypeOf(await (await f.spawn<string>()).get({ timeoutMs: 1 })).toBeString();
  expectTypeOf(f.remoteGen<Uint8Array>()).toExtend<AsyncIterable<Uint8Array>>();
  // @ts-expect-error arguments are a list
  f.remote(1);
});

test("options have units in their names", async () => {
  const client = new SkerryClient({ serverUrl: "http://127.0.0.1:7070", logLevel: "debug" });
  const f = await client.functions.fromName("app", "f", { version: 3 });
  f.withOptions({ memoryMiB: 512, timeoutMs: 1000, secrets: [client.secrets.fromObject({ A: "b" })] });
  expectTypeOf(client.secrets.fromObject({})).toEqualTypeOf<Secret>();
  // @ts-expect-error the unit is missing
  f.withOptions({ timeout: 1 });
});

test("errors are of one family", () => {
  expectTypeOf<RemoteError>().toExtend<SkerryError>();
  expectTypeOf(new RemoteError("no").remoteTraceback).toBeString();
});
