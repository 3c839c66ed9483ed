import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  FileEventType,
  FileFaultKind,
  FileFaultSchema,
  FilesystemService,
  FileType,
} from "../../src/gen/skerry/v1/filesystem_pb.js";
import { SandboxInfoSchema } from "../../src/gen/skerry/v1/sandbox_info_pb.js";
import { SandboxService } from "../../src/gen/skerry/v1/sandbox_pb.js";
import {
  ConflictError,
  DataLossError,
  InvalidError,
  NotFoundError,
  type Sandbox,
  SandboxFilesystemError,
  SandboxFilesystemFileTooLargeError,
  SandboxFilesystemIsADirectoryError,
  SandboxFilesystemNotFoundError,
  type SkerryClient,
} from "../../src/index.js";
import { clientOf } from "./gateway.js";

const ID = "sb-0123456789abcdefghijAB";
const MIB = 1 << 20;

/** A file system of the tests' own, in memory. */
class Files {
  readonly content = new Map<string, Uint8Array>();
  /** Ends the next reads after so many bytes. */
  breakAfter: number[] = [];
  modified = 1n;
  largestFrame = 0;
  fault: ConnectError | undefined;

  readonly routes = (router: ConnectRouter): void => {
    router.service(SandboxService, {
      getSandbox: () => ({ sandbox: create(SandboxInfoSchema, { sandboxId: ID }) }),
    });
    router.service(FilesystemService, {
      readFile: (request) => this.#read(request.path, Number(request.offset), Number(request.maxSize)),
      writeFile: async (requests) => {
        let path = "";
        const parts: Uint8Array[] = [];
        let ended = false;
        for await (const { start, data, end } of requests) {
          path = start?.path ?? path;
          parts.push(data);
          this.largestFrame = Math.max(this.largestFrame, data.length);
          ended ||= end;
        }
        if (this.fault !== undefined) {
          const { fault } = this;
          this.fault = undefined;
          throw fault;
        }
        if (ended) {
          this.content.set(path, new Uint8Array(Buffer.concat(parts)));
        }
        return {};
      },
      statFile: ({ path }) => {
        if (path === "/gone") {
          throw new ConnectError("the sandbox has ended", Code.FailedPrecondition);
        }
        return {
          info: {
            name: "a",
            path,
            type: FileType.SYMLINK,
            mode: 0o4755,
            size: 5n,
            owner: "root",
            group: "root",
            modifiedAt: { seconds: 10n },
            symlinkTarget: "/b",
          },
        };
      },
      async *listFiles() {
        yield { files: [{ name: "a", type: FileType.FILE, mode: 0o644 }] };
        yield { files: [{ name: "b", type: FileType.DIRECTORY, mode: 0o1777 }] };
      },
      removeFile: ({ path }) => {
        throw missing(path);
      },
      async *watchFiles({ filter, recursive }) {
        yield { watching: true };
        yield { type: FileEventType.CREATE, paths: [`${recursive}`] };
        yield { type: filter[0] ?? FileEventType.UNSPECIFIED, paths: ["/a", "/b"] };
      },
    });
  };

  async *#read(path: string, offset: number, maxSize: number) {
    const content = this.content.get(path);
    if (path === "/dir") {
      throw trouble(FileFaultKind.IS_DIRECTORY, Code.FailedPrecondition, `${path} is a directory`);
    }
    if (content === undefined) {
      throw missing(path);
    }
    if (maxSize > 0 && path === "/large") {
      throw trouble(FileFaultKind.TOO_LARGE, Code.FailedPrecondition, "too large");
    }
    yield { info: { size: BigInt(content.length), modifiedAt: { seconds: this.modified } } };
    const most = this.breakAfter.shift() ?? Number.POSITIVE_INFINITY;
    for (let at = offset; at < content.length; at += MIB) {
      if (at - offset >= most) {
        throw new ConnectError("gone", Code.Unavailable);
      }
      yield { data: content.subarray(at, at + MIB) };
    }
  }
}

function trouble(kind: FileFaultKind, code: Code, message: string): ConnectError {
  return new ConnectError(message, code, undefined, [{ desc: FileFaultSchema, value: { kind, path: "/a" } }]);
}

const missing = (path: string): ConnectError =>
  trouble(FileFaultKind.NOT_FOUND, Code.NotFound, `${path} does not exist`);

let files: Files;
let client: SkerryClient;
let sandbox: Sandbox;
let folder = "";
beforeEach(async () => {
  files = new Files();
  client = clientOf(files.routes);
  sandbox = await client.sandboxes.fromId(ID);
  folder = mkdtempSync(join(tmpdir(), "skerry-fs-"));
});
afterEach(() => {
  client.close();
  rmSync(folder, { recursive: true });
});

const digest = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const large = Buffer.alloc(5 * MIB + 7, "0123456789");

describe("files", () => {
  test("are written and read as text and bytes", async () => {
    await sandbox.filesystem.writeText("grüße", "/a");
    expect(await sandbox.filesystem.readText("/a")).toBe("grüße");
    await sandbox.filesystem.writeBytes(large, "/b");
    expect(digest(await sandbox.filesystem.readBytes("/b"))).toBe(digest(large));
    expect(files.largestFrame).toBe(MIB);
    await sandbox.filesystem.writeText("", "/empty");
    expect(await sandbox.filesystem.readBytes("/empty")).toHaveLength(0);
  });

  test("are copied both ways, streamed", async () => {
    writeFileSync(join(folder, "up"), large);
    await sandbox.filesystem.copyFromLocal(join(folder, "up"), "/b");
    await sandbox.filesystem.copyToLocal("/b", join(folder, "deep/down"));
    expect(digest(readFileSync(join(folder, "deep/down")))).toBe(digest(large));
    expect(readdirSync(join(folder, "deep"))).toEqual(["down"]);
  });

  test("are written from a stream", async () => {
    await sandbox.filesystem.writeStream(new Blob(["abc", "def"]).stream() as ReadableStream<Uint8Array>, "/a");
    expect(await sandbox.filesystem.readText("/a")).toBe("abcdef");
  });

  test("are read on where a connection broke", async () => {
    files.content.set("/b", large);
    files.breakAfter = [2 * MIB, MIB];
    expect(digest(await sandbox.filesystem.readBytes("/b"))).toBe(digest(large));
  });

  test("that changed meanwhile are not read on", async () => {
    files.content.set("/b", large);
    files.breakAfter = [MIB];
    const reading = sandbox.filesystem.readStream("/b");
    await reading.next();
    files.modified = 2n;
    await expect(reading.next()).rejects.toThrow(DataLossError);
  });

  test("are written again where the connection broke", async () => {
    files.fault = new ConnectError("gone", Code.Unavailable);
    await sandbox.filesystem.writeBytes(large, "/b");
    expect(digest(files.content.get("/b") ?? new Uint8Array())).toBe(digest(large));
  });

  test("that are half copied leave nothing", async () => {
    await expect(sandbox.filesystem.copyToLocal("/nothing", join(folder, "down"))).rejects.toThrow();
    expect(existsSync(join(folder, "down"))).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that are no text say so", async () => {
    files.content.set("/a", new Uint8Array([0xff]));
    await expect(sandbox.filesystem.readText("/a")).rejects.toThrow(SandboxFilesystemError);
  });
});

test("errors are what they are about", async () => {
  const { filesystem } = sandbox;
  await expect(filesystem.readText("/nothing")).rejects.toThrow(SandboxFilesystemNotFoundError);
  await expect(filesystem.readText("/dir")).rejects.toThrow(SandboxFilesystemIsADirectoryError);
  await expect(filesystem.remove("/nothing")).rejects.toThrow(SandboxFilesystemNotFoundError);
  await expect(filesystem.stat("/gone")).rejects.toThrow(ConflictError);
  await expect(filesystem.readText("relative")).rejects.toThrow(InvalidError);
  files.content.set("/large", large);
  await expect(filesystem.readBytes("/large")).rejects.toThrow(SandboxFilesystemFileTooLargeError);
  expect(new SandboxFilesystemNotFoundError("")).not.toBeInstanceOf(NotFoundError);
});

test("files are described", async () => {
  expect(await sandbox.filesystem.stat("/a")).toEqual({
    name: "a",
    path: "/a",
    type: "symlink",
    size: 5,
    mode: 0o4755,
    permissions: "lrwsr-xr-x",
    owner: "root",
    group: "root",
    modifiedTime: new Date(10_000),
    symlinkTarget: "/b",
  });
  const listed = await sandbox.filesystem.listFiles("/");
  expect(listed.map((file) => [file.name, file.type, file.permissions])).toEqual([
    ["a", "file", "-rw-r--r--"],
    ["b", "directory", "drwxrwxrwt"],
  ]);
});

test("changes are seen", async () => {
  const events: unknown[] = [];
  for await (const event of sandbox.filesystem.watch("/a", { recursive: true, filter: ["Modify"] })) {
    events.push(event);
  }
  expect(events).toEqual([
    { eventType: "Create", paths: ["true"] },
    { eventType: "Modify", paths: ["/a", "/b"] },
  ]);
});
