import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type App, ConflictError, type Image, type Sandbox, SkerryError } from "../../src/index.js";
import { liveClient } from "./client.js";

const client = liveClient();

let app: App;
let image: Image;
let sandbox: Sandbox;
beforeAll(async () => {
  app = await client().apps.fromName("ts-states", { createIfMissing: true });
  image = client().images.debianSlim();
  sandbox = await client().sandboxes.create(app, image, { timeoutMs: 600_000 });
});
afterAll(async () => await sandbox?.terminate());

describe("states", () => {
  test("files are kept as an image, and shown elsewhere", async () => {
    await sandbox.filesystem.writeText("kept", "/kept/a.txt");
    const whole = await sandbox.snapshotFilesystem({ ttlMs: 3_600_000 });
    await using other = await client().sandboxes.create(app, whole);
    expect(await other.filesystem.readText("/kept/a.txt")).toBe("kept");
    const part = await sandbox.snapshotDirectory("/kept");
    await other.mountImage("/mounted", part);
    expect(await other.filesystem.readText("/mounted/a.txt")).toBe("kept");
    await other.unmountImage("/mounted");
    await expect(other.filesystem.readText("/mounted/a.txt")).rejects.toThrow(SkerryError);
  });

  test("forks go on from where a sandbox is, each with its own state", async () => {
    await using base = await client().sandboxes.create(app, image);
    await base.filesystem.writeText("base", "/state");
    const forks = await base.fork(2);
    try {
      await forks[0]?.filesystem.writeText("first", "/state");
      const read = await Promise.all([base, ...forks].map((each) => each.filesystem.readText("/state")));
      expect(read).toEqual(["base", "first", "base"]);
    } finally {
      await Promise.all(forks.map((fork) => fork.terminate()));
    }
  });

  test("paused sandboxes are resumed by who uses them", async () => {
    await using one = await client().sandboxes.create(app, image, { command: ["sleep", "600"] });
    await one.filesystem.writeText("before", "/state");
    await one.pause();
    expect((await one.info()).state).toBe("paused");
    await one.resume();
    expect(await one.filesystem.readText("/state")).toBe("before");
    await one.pause();
    expect(await one.filesystem.readText("/state")).toBe("before");
    expect((await one.info()).state).toBe("running");
  });

  test("snapshots with memory are restored", async () => {
    await using one = await client().sandboxes.create(app, image);
    await one.filesystem.writeText("snapped", "/state");
    const snapshot = await one.experimentalSnapshot();
    const found = await client().sandboxSnapshots.fromId(snapshot.snapshotId);
    await using restored = await client().sandboxes.experimentalFromSnapshot(found);
    expect(await restored.filesystem.readText("/state")).toBe("snapped");
    await client().sandboxSnapshots.delete(snapshot.snapshotId);
  });
});

test("sidecars have files of their own and share the network", async () => {
  const sidecar = await sandbox.experimentalSidecars.create("helper", image, { env: { WHO: "sidecar" } });
  const said = await sidecar.exec(["sh", "-c", "echo $WHO"]);
  expect(await said.stdout.readText()).toBe("sidecar\n");
  await sidecar.filesystem.writeText("own", "/of-sidecar");
  await expect(sandbox.filesystem.stat("/of-sidecar")).rejects.toThrow(SkerryError);
  expect((await sandbox.experimentalSidecars.list()).map((each) => each.name)).toEqual(["helper"]);
  await expect(sandbox.pause()).rejects.toThrow(ConflictError);
  expect(await sidecar.terminate({ wait: true })).toBe(137);
  expect(await sandbox.experimentalSidecars.list()).toEqual([]);
});
