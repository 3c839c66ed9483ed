/** Volumes and secrets with a name, from here and together with Python. */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, inject, test } from "vitest";
import { ConflictError, InvalidError, NotFoundError } from "../../src/index.js";
import { collect, liveClient } from "./client.js";
import { ROOT } from "./daemon.js";

const client = liveClient();

/** Runs a Python program with the SDK to its end and returns what it prints. */
async function python(source: string): Promise<string> {
  const env = { ...process.env, SKERRY_CONFIG_PATH: inject("configPath") };
  const { stdout } = await promisify(execFile)(join(ROOT, ".venv/bin/python"), ["-c", source], { env });
  return stdout.trim();
}

async function text(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await collect(chunks)).toString();
}

describe("volumes", () => {
  test("are files that sandboxes share", async () => {
    const app = await client().apps.fromName("ts-volumes", { createIfMissing: true });
    const image = client().images.debianSlim();
    await using volume = await client().volumes.ephemeral();
    expect(volume.name).toBeUndefined();
    const writer = await client().sandboxes.create(app, image, { volumes: { "/data": volume } });
    const reader = await client().sandboxes.create(app, image, { volumes: { "/data": volume.readOnly() } });
    const inner = await client().sandboxes.create(app, image, {
      volumes: { "/part": volume.withMountOptions({ subPath: "a/b" }) },
    });
    const write = await writer.exec(["sh", "-c", "mkdir -p /data/a/b && echo one > /data/a/b/f && sync"]);
    expect(await write.wait()).toBe(0);
    await writer.reloadVolumes(); // which commits
    expect(await (await reader.exec(["cat", "/data/a/b/f"])).wait()).not.toBe(0);
    await reader.reloadVolumes();
    const read = await reader.exec(["cat", "/data/a/b/f"]);
    expect(await read.stdout.readText()).toBe("one\n");
    expect(await (await reader.exec(["touch", "/data/new"])).wait()).not.toBe(0);
    await inner.reloadVolumes();
    expect(await (await inner.exec(["cat", "/part/f"])).stdout.readText()).toBe("one\n");

    const holder = await inner.exec(["sh", "-c", "exec 3< /part/f; echo open; sleep 600"]);
    expect((await holder.stdout.lines().next()).value).toBe("open");
    await expect(inner.reloadVolumes()).rejects.toThrow(ConflictError);

    const listed = await collect(volume.listFiles("/", { recursive: true }));
    expect(listed.map(({ path, type }) => `${type} ${path}`)).toEqual(["directory a", "directory a/b", "file a/b/f"]);
    expect(await text(volume.readFile("a/b/f"))).toBe("one\n");
    expect(await text(volume.readFile("a/b/f", { offset: 1, length: 2 }))).toBe("ne");
    await expect(text(volume.readFile("missing"))).rejects.toThrow(NotFoundError);
    await expect(text(volume.readFile("a"))).rejects.toThrow(ConflictError);
    await Promise.all([writer, reader, inner].map((sandbox) => sandbox.terminate({ wait: true })));
  });

  test("are mounted in sidecars", async () => {
    const app = await client().apps.fromName("ts-volumes", { createIfMissing: true });
    const image = client().images.debianSlim();
    await using both = await client().volumes.ephemeral();
    await using own = await client().volumes.ephemeral();
    const sandbox = await client().sandboxes.create(app, image, { volumes: { "/both": both } });
    const side = await sandbox.experimentalSidecars.create("side", image, {
      volumes: { "/there": both, "/own": own.withMountOptions({ subPath: "part" }) },
    });
    const write = await side.exec(["sh", "-c", "echo there > /there/a && echo own > /own/b"]);
    expect(await write.wait()).toBe(0);
    expect(await (await sandbox.exec(["cat", "/both/a"])).stdout.readText()).toBe("there\n");
    const holder = await side.exec(["sh", "-c", "exec 3< /own/b; echo open; read go"]);
    expect((await holder.stdout.lines().next()).value).toBe("open");
    await expect(side.reloadVolumes()).rejects.toThrow(ConflictError);
    await holder.closeStdin();
    await holder.wait();
    await side.reloadVolumes(); // which commits
    expect(await text(own.readFile("part/b"))).toBe("own\n");
    expect(await side.terminate({ wait: true })).toBe(137);
    expect(await text(both.readFile("a"))).toBe("there\n");
    await sandbox.terminate({ wait: true });
  });

  test("have names", async () => {
    await expect(client().volumes.fromName("ts-missing")).rejects.toThrow(NotFoundError);
    const made = await client().volumes.fromName("ts-volume", { createIfMissing: true });
    await python(`
import io, skerry
with skerry.Volume.from_name("ts-volume").batch_upload() as batch:
    batch.put_file(io.BytesIO(b"from Python"), "/x")
`);
    expect(await text((await client().volumes.fromId(made.volumeId)).readFile("/x"))).toBe("from Python");
    expect(() => made.closeEphemeral()).toThrow(InvalidError);
    expect(() => made.withMountOptions({ subPath: "../up" })).toThrow(InvalidError);
    await client().volumes.delete("ts-volume");
    await client().volumes.delete("ts-volume", { allowMissing: true });
    await expect(client().volumes.delete("ts-volume")).rejects.toThrow(NotFoundError);
  });

  test("are mounted once, and where they may be", async () => {
    const app = await client().apps.fromName("ts-volumes", { createIfMissing: true });
    const image = client().images.debianSlim();
    await using volume = await client().volumes.ephemeral();
    for (const volumes of [{ "/a": volume, "/b": volume }, { "/tmp": volume }, { relative: volume }]) {
      await expect(client().sandboxes.create(app, image, { volumes })).rejects.toThrow(InvalidError);
    }
  });
});

test("secrets are found by name", async () => {
  await python(`import skerry; skerry.Secret.objects.create("ts-secret", {"TOKEN": "hidden"})`);
  const secret = await client().secrets.fromName("ts-secret", { requiredKeys: ["TOKEN"] });
  await expect(client().secrets.fromName("ts-secret", { requiredKeys: ["OTHER"] })).rejects.toThrow(/OTHER/);
  const app = await client().apps.fromName("ts-volumes", { createIfMissing: true });
  await using sandbox = await client().sandboxes.create(app, client().images.debianSlim(), { secrets: [secret] });
  const shown = await sandbox.exec(["sh", "-c", "echo $TOKEN"]);
  expect(await shown.stdout.readText()).toBe("hidden\n");
  await client().secrets.delete("ts-secret");
  await expect(client().secrets.fromName("ts-secret")).rejects.toThrow(NotFoundError);
  await client().secrets.delete("ts-secret", { allowMissing: true });
});
