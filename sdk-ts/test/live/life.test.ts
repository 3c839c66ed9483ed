import { afterAll, beforeAll, expect, test } from "vitest";
import { type App, ConflictError, type Image, Probe, type Sandbox } from "../../src/index.js";
import { liveClient } from "./client.js";

const client = liveClient();

let app: App;
let image: Image;
let sandbox: Sandbox;
beforeAll(async () => {
  app = await client().apps.fromName("ts-life", { createIfMissing: true });
  image = client().images.debianSlim();
  sandbox = await client().sandboxes.create(app, image, { timeoutMs: 600_000 });
});
afterAll(async () => await sandbox?.terminate());

test("a command's output is there also after its end, with its exit code", async () => {
  const one = await client().sandboxes.create(app, image, {
    command: ["sh", "-c", "echo said; echo sad >&2; exit 5"],
  });
  expect(await one.wait()).toBe(5);
  const again = await client().sandboxes.fromId(one.sandboxId);
  expect(await again.stdout.readText()).toBe("said\n");
  expect(await again.stderr.readText()).toBe("sad\n");
  expect(await again.info()).toMatchObject({ state: "ended", endReason: "exited", returnCode: 5 });
  await expect(again.exec(["true"])).rejects.toThrow(ConflictError);
});

test("input reaches a sandbox's command", async () => {
  await using one = await client().sandboxes.create(app, image, { command: ["cat"] });
  await one.stdin.writeText("hello\n");
  await one.process("main").closeStdin();
  expect(await one.wait()).toBe(0);
  expect(await one.stdout.readText()).toBe("hello\n");
});

test("probes say when it is ready", async () => {
  await using one = await client().sandboxes.create(app, image, {
    command: ["sh", "-c", "while [ ! -e /go ]; do sleep 0.01; done; touch /ready; exec sleep 600"],
    readinessProbe: Probe.withExec(["test", "-e", "/ready"], { intervalMs: 10 }),
  });
  await one.filesystem.writeText("", "/go");
  await one.waitUntilReady();
  expect((await one.info()).ready).toBe(true);
});

test("metrics are measured", async () => {
  for await (const metrics of sandbox.metrics({ intervalMs: 100 })) {
    expect(metrics.memoryBytes).toBeGreaterThan(0);
    expect(metrics.processes).toBeGreaterThan(0);
    break;
  }
});
