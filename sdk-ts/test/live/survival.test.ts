import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SkerryClient } from "../../src/index.js";
import { Daemon } from "./daemon.js";

let daemon: Daemon;
let client: SkerryClient;
beforeAll(async () => {
  daemon = await Daemon.make();
  await daemon.start();
  process.env["SKERRY_CONFIG_PATH"] = join(daemon.home, ".skerry.toml");
  client = new SkerryClient();
});
afterAll(async () => {
  client?.close();
  await daemon.stop();
});

test("a process, its input and its output go on over a daemon that is killed", async () => {
  const app = await client.apps.fromName("survival", { createIfMissing: true });
  const sandbox = await client.sandboxes.create(app, client.images.debianSlim(), { timeoutMs: 600_000 });
  const shell = await sandbox.exec(["sh", "-c", 'echo "began $$"; while read line; do echo "$$ $line"; done']);
  const lines = shell.stdout.lines();
  const began = (await lines.next()).value ?? "";
  const pid = began.replace("began ", "");
  await shell.stdin.writeText("before\n");
  expect((await lines.next()).value).toBe(`${pid} before`);

  await daemon.kill();
  const waiting = lines.next();
  const writing = shell.stdin.writeText("over the break\n");
  await daemon.start();
  await writing;
  expect((await waiting).value).toBe(`${pid} over the break`);
  await shell.closeStdin();
  expect((await lines.next()).done).toBe(true);
  expect(await shell.wait()).toBe(0);
  expect((await client.sandboxes.fromId(sandbox.sandboxId)).sandboxId).toBe(sandbox.sandboxId);
  expect(await sandbox.terminate({ wait: true })).toBe(137);
});
