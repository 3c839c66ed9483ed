import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  AlreadyExistsError,
  type App,
  type Image,
  NotFoundError,
  type Sandbox,
  SandboxFilesystemDirectoryNotEmptyError,
  SandboxFilesystemIsADirectoryError,
  SandboxFilesystemNotFoundError,
  SandboxFilesystemPathAlreadyExistsError,
} from "../../src/index.js";
import { collect, liveClient } from "./client.js";

const client = liveClient();
const MIB = 1 << 20;
const digest = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

let app: App;
let image: Image;
let sandbox: Sandbox;
beforeAll(async () => {
  app = await client().apps.fromName("ts-sandboxes", { createIfMissing: true });
  image = client().images.debianSlim();
  sandbox = await client().sandboxes.create(app, image, {
    timeoutMs: 600_000,
    env: { FROM: "definition" },
    secrets: [client().secrets.fromObject({ HIDDEN: "of the sandbox" })],
    unencryptedPorts: [7000],
  });
});
afterAll(async () => await sandbox?.terminate());

/** Runs a shell command to its end. */
async function sh(command: string): Promise<{ out: string; err: string; code: number }> {
  const process = await sandbox.exec(["sh", "-c", command]);
  const [out, err, code] = await Promise.all([process.stdout.readText(), process.stderr.readText(), process.wait()]);
  return { out, err, code };
}

describe("processes", () => {
  test("get their arguments exactly, and give output and exit code", async () => {
    const args = ["a b", "", "$HOME", "*", "'", "ü\n"];
    const process = await sandbox.exec(["python3", "-c", "import sys; print(sys.argv[1:], end='')", ...args]);
    expect(await process.stdout.readText()).toBe("['a b', '', '$HOME', '*', \"'\", 'ü\\n']");
    expect(await sh("echo out; echo err >&2; exit 3")).toEqual({ out: "out\n", err: "err\n", code: 3 });
    expect((await sh("kill -TERM $$")).code).toBe(143);
  });

  test("have variables, secrets and a directory of their own", async () => {
    const process = await sandbox.exec(["sh", "-c", 'echo "$FROM $HIDDEN $OWN $TOKEN $PWD"'], {
      env: { OWN: "exec" },
      secrets: [client().secrets.fromObject({ TOKEN: "sealed" })],
      workdir: "/tmp",
    });
    expect(await process.stdout.readText()).toBe("definition of the sandbox exec sealed /tmp\n");
    await expect(sandbox.exec(["true"], { workdir: "/nowhere" })).rejects.toThrow(NotFoundError);
    await expect(sandbox.exec(["no-such-program"])).rejects.toThrow(NotFoundError);
  });

  test("read standard input to its end", async () => {
    const process = await sandbox.exec(["wc", "-c"]);
    const part = new Uint8Array(8 * MIB);
    for (let i = 0; i < 4; i++) {
      await process.stdin.writeBytes(part);
    }
    await process.stdin.writeText("end");
    await process.closeStdin();
    expect((await process.stdout.readText()).trim()).toBe(String(32 * MIB + 3));
    expect(await process.wait()).toBe(0);
  });

  test("write more than is kept here, and lose nothing that is read", async () => {
    const process = await sandbox.exec(["sh", "-c", "head -c 24000000 /dev/zero | tr '\\0' x; echo done >&2"], {
      mode: "binary",
    });
    const hash = createHash("sha256");
    let size = 0;
    for await (const part of process.stdout) {
      hash.update(part);
      size += part.length;
    }
    expect(size).toBe(24_000_000);
    expect(hash.digest("hex")).toBe(digest(Buffer.alloc(24_000_000, "x")));
    expect(await process.stderr.readText()).toBe("done\n");
  });

  test("are ended by their timeout, and by signals", async () => {
    expect(await (await sandbox.exec(["sleep", "600"], { timeoutMs: 200 })).wait()).toBe(-1);
    const process = await sandbox.exec(["sleep", "600"]);
    expect(await process.poll()).toBeNull();
    await process.signal(15);
    expect(await process.wait()).toBe(143);
    await process.kill();
  });

  test("are listed, and found again with their output from an offset", async () => {
    const process = await sandbox.exec(["sh", "-c", "echo 0123456789; cat"]);
    for await (const piece of process.stdout) {
      expect(piece).toBe("0123456789\n");
      break;
    }
    const listed = await sandbox.listProcesses();
    expect(listed.find((one) => one.processId === process.processId)).toMatchObject({
      pid: process.pid,
      args: ["sh", "-c", "echo 0123456789; cat"],
      returnCode: null,
      stdoutSize: 11,
    });
    const again = sandbox.process(process.processId, { stdoutOffset: 5 });
    await again.stdin.writeText("more\n");
    await again.closeStdin();
    expect(await again.stdout.readText()).toBe("56789\nmore\n");
    expect(await again.wait()).toBe(0);
    expect((await sandbox.listSystemProcesses()).some((one) => one.pid === 1)).toBe(true);
  });

  test("have a terminal that is resized, and hear its keys", async () => {
    const process = await sandbox.exec(["sh"], { pty: { rows: 10, columns: 40 } });
    const lines = process.stdout.lines();
    const until = async (wanted: string): Promise<void> => {
      for (let line = await lines.next(); !line.done; line = await lines.next()) {
        if (line.value.includes(wanted)) {
          return;
        }
      }
      throw new Error(`no ${wanted}`);
    };
    await process.stdin.writeText("stty size\r");
    await until("10 40");
    await process.resize({ rows: 50, columns: 132 });
    await process.stdin.writeText("stty size\r");
    await until("50 132");
    await process.stdin.writeText("exit 4\r");
    expect(await process.wait()).toBe(4);
  });
});

describe("files", () => {
  test("are written, read, described, renamed and removed", async () => {
    const { filesystem } = sandbox;
    await filesystem.writeText("grüße", "/deep/down/a.txt");
    expect(await filesystem.readText("/deep/down/a.txt")).toBe("grüße");
    expect(await filesystem.stat("/deep/down/a.txt")).toMatchObject({
      name: "a.txt",
      type: "file",
      size: 7,
      permissions: "-rw-r--r--",
      owner: "root",
    });
    await filesystem.makeDirectory("/deep/dir");
    await filesystem.makeDirectory("/deep/dir");
    await filesystem.move("/deep/down/a.txt", "/deep/dir/b.txt");
    expect((await filesystem.listFiles("/deep")).map((file) => file.name)).toEqual(["dir", "down"]);
    await expect(filesystem.readText("/deep/nothing")).rejects.toThrow(SandboxFilesystemNotFoundError);
    await expect(filesystem.readText("/deep")).rejects.toThrow(SandboxFilesystemIsADirectoryError);
    await expect(filesystem.makeDirectory("/deep", { createParents: false })).rejects.toThrow(
      SandboxFilesystemPathAlreadyExistsError,
    );
    await expect(filesystem.remove("/deep")).rejects.toThrow(SandboxFilesystemDirectoryNotEmptyError);
    await filesystem.remove("/deep", { recursive: true });
    await expect(filesystem.stat("/deep")).rejects.toThrow(SandboxFilesystemNotFoundError);
  });

  test("are copied both ways, whatever their size", async () => {
    const folder = mkdtempSync(join(tmpdir(), "skerry-live-"));
    try {
      const data = Buffer.alloc(20 * MIB + 1, "Skerry is a small rocky island.");
      writeFileSync(join(folder, "up"), data);
      await sandbox.filesystem.copyFromLocal(join(folder, "up"), "/data/large");
      expect((await sh("sha256sum < /data/large")).out.slice(0, 64)).toBe(digest(data));
      await sandbox.filesystem.copyToLocal("/data/large", join(folder, "down"));
      expect(digest(readFileSync(join(folder, "down")))).toBe(digest(data));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("are watched", async () => {
    await sandbox.filesystem.makeDirectory("/watched/below");
    const changes = await sandbox.filesystem.watching("/watched", { recursive: true, filter: ["Create", "Remove"] });
    await sh("touch /watched/below/a && rm /watched/below/a");
    expect((await changes.next()).value).toEqual({ eventType: "Create", paths: ["/watched/below/a"] });
    expect((await changes.next()).value).toEqual({ eventType: "Remove", paths: ["/watched/below/a"] });
    await changes.return();
  });
});

describe("lives", () => {
  test("names and tags find it, and events tell its life", async () => {
    const one = await client().sandboxes.create(app, image, { name: "named", tags: { kind: "ts" }, owner: "ts-tests" });
    await expect(client().sandboxes.create(app, image, { name: "named" })).rejects.toThrow(AlreadyExistsError);
    expect((await client().sandboxes.fromName("ts-sandboxes", "named")).sandboxId).toBe(one.sandboxId);
    await one.setTags({ kind: "other" });
    const found = await collect(client().sandboxes.list({ tags: { kind: "other" } }));
    expect(found.map((each) => each.sandboxId)).toEqual([one.sandboxId]);
    expect((await client().sandboxes.prune({ owner: "ts-tests" })).map((each) => each.sandboxId)).toEqual([
      one.sandboxId,
    ]);
    expect(await one.wait()).toBe(137);
    const types = (await collect(one.events())).map((event) => event.type);
    expect([types[0], types.at(-1)]).toEqual(["created", "ended"]);
    await expect(client().sandboxes.fromName("ts-sandboxes", "named")).rejects.toThrow(NotFoundError);
  });

  test("timeouts end it", async () => {
    const one = await client().sandboxes.create(app, image, { timeoutMs: 1000 });
    expect(await one.wait()).toBe(124);
  });
});
