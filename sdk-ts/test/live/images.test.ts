import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type BuildEvent, ImageBuildError, InvalidError, NotFoundError } from "../../src/index.js";
import { liveClient } from "./client.js";

const client = liveClient();
const app = () => client().apps.fromName("ts-images", { createIfMissing: true });

test("an image is built, told about, named, found and deleted", async () => {
  const folder = mkdtempSync(join(tmpdir(), "skerry-image-"));
  try {
    writeFileSync(join(folder, "hello.txt"), "hello");
    const secret = client().secrets.fromObject({ TOKEN: "hidden" });
    const events: BuildEvent[] = [];
    const image = await client()
      .images.debianSlim()
      .addLocalDir(folder, "/data", { copy: true })
      .env({ MODE: "fast" })
      .runCommands('test "$TOKEN" = hidden && test "$MODE" = fast && cat /data/hello.txt', { secrets: [secret] })
      .build(await app(), { onProgress: (event) => events.push(event) });
    expect(image.imageId).toMatch(/^im-/);
    expect(events.flatMap((event) => (event.type === "log" ? event.lines : []))).toContain("hello");
    expect(events.some((event) => event.type === "step" && event.state === "done")).toBe(true);
    await image.publish("ts-image:v1");
    const found = await client().images.fromName("ts-image:v1");
    expect(found.imageId).toBe(image.imageId);
    expect((await client().images.fromId(image.imageId)).imageId).toBe(image.imageId);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the same steps in Python are the same image", async () => {
  const image = await client()
    .images.debianSlim()
    .runCommands("echo shared > /shared")
    .build(await app());
  const python = await client().functions.fromName("ts-calls", "shared_image");
  expect(image.imageId).toBe(await python.remote());
});

test("a step that fails is named, with its last lines", async () => {
  const broken = client()
    .images.debianSlim()
    .runCommands("echo about to fail; exit 7")
    .build(await app());
  const error = await broken.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ImageBuildError);
  expect((error as Error).message).toContain('runCommands(["echo about to fail; exit 7"])');
  expect((error as Error).message).toContain("exit code: 7");
  expect((error as Error).message).toContain("  about to fail");
});

test("what is not there is said", async () => {
  await expect(client().images.fromName("nothing")).rejects.toThrow(NotFoundError);
  await expect(client().images.fromId("im-0123456789abcdefghijAB")).rejects.toThrow(NotFoundError);
  await expect(client().images.fromId("nothing")).rejects.toThrow(InvalidError);
  await expect(client().images.delete("im-0123456789abcdefghijAB")).rejects.toThrow(NotFoundError);
  await expect(client().apps.fromName("nothing")).rejects.toThrow(NotFoundError);
});
