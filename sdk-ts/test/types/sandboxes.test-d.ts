import { expectTypeOf, test } from "vitest";
import {
  type ContainerProcess,
  type FileWatchEvent,
  Probe,
  type ReadStream,
  type Sandbox,
  type SandboxMetrics,
  SkerryClient,
  type WriteStream,
} from "../../src/index.js";

const client = new SkerryClient();
const app = await client.apps.fromName("app", { createIfMissing: true });

test("processes carry text, or bytes where asked for", async () => {
  await using sandbox = await client.sandboxes.create(app, client.images.debianSlim());
  expectTypeOf(sandbox).toEqualTypeOf<Sandbox>();
  const text = await sandbox.exec(["ls"]);
  expectTypeOf(text).toEqualTypeOf<ContainerProcess<string>>();
  expectTypeOf(text.stdout).toEqualTypeOf<ReadStream<string>>();
  expectTypeOf(text.stdout).toExtend<ReadableStream<string>>();
  const binary = await sandbox.exec(["ls"], { mode: "binary", pty: { rows: 1, columns: 2 } });
  expectTypeOf(binary.stdin).toEqualTypeOf<WriteStream<Uint8Array>>();
  expectTypeOf(await binary.wait()).toBeNumber();
  expectTypeOf(await binary.poll()).toEqualTypeOf<number | null>();
  expectTypeOf(sandbox.process("main", { mode: "binary" })).toEqualTypeOf<ContainerProcess<Uint8Array>>();
});

test("what ends says so in its type", async () => {
  const sandbox = await client.sandboxes.fromId("sb-1");
  expectTypeOf(await sandbox.terminate({ wait: true })).toBeNumber();
  expectTypeOf(await sandbox.terminate()).toBeUndefined();
  expectTypeOf(sandbox.metrics()).toExtend<AsyncIterable<SandboxMetrics>>();
  expectTypeOf(sandbox.filesystem.watch("/a")).toExtend<AsyncIterable<FileWatchEvent>>();
});

test("parameters are checked", async () => {
  const image = client.images.debianSlim();
  await client.sandboxes.create(app, image, { timeoutMs: 1000, readinessProbe: Probe.withExec(["true"]) });
  // @ts-expect-error the unit is missing
  await client.sandboxes.create(app, image, { timeout: 1000 });
  // @ts-expect-error there is no such choice
  await client.sandboxes.create(app, image, { onIdle: "sleep" });
  // @ts-expect-error a command is a list
  await (await client.sandboxes.fromId("sb-1")).exec("ls");
});
