/** Local files for images and sandboxes: found, and sent by content, only those that the server has not seen. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { upload } from "../blobs.js";
import type { Core } from "../core.js";
import { ExecutionError, InvalidError, NotFoundError } from "../errors.js";
import { type MountFile, MountFileSchema, MountService } from "../gen/skerry/v1/mount_pb.js";
import { BlobRefSchema } from "../gen/skerry/v1/payload_pb.js";
import { quote } from "../names.js";
import { type Ignore, makeMatcher } from "./patterns.js";

const PARALLEL = 8;
const READ_BYTES = 1 << 20;

/** Local files, by what they are. */
export type LocalFiles =
  | { kind: "file"; localPath: string }
  | { kind: "dir"; localPath: string; ignore: Ignore }
  /** Files by the names that they get, which only a build step sees; "." alone names a tree that is one file. */
  | { kind: "contents"; contents: Readonly<Record<string, string>> };

/** The path of a file in a tree, and where it is here. */
export type LocalFile = readonly [name: string, path: string];

/** Returns the files of a tree, in order. Throws {@link NotFoundError}, {@link InvalidError}. */
export async function listLocal(files: LocalFiles): Promise<LocalFile[]> {
  if (files.kind === "contents") {
    const entries = Object.entries(files.contents).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [, path] of entries) {
      await checkFile(path);
    }
    return entries;
  }
  if (files.kind === "file") {
    await checkFile(files.localPath);
    return [[".", files.localPath]];
  }
  const info = await stat(files.localPath).catch(() => undefined);
  if (!info?.isDirectory()) {
    throw info === undefined
      ? new NotFoundError(`local folder ${quote(files.localPath)} does not exist`)
      : new InvalidError(`${quote(files.localPath)} is a file: use addLocalFile`);
  }
  return await walkLocal(files.localPath, files.ignore, { followLinks: true });
}

/** Returns the files below a folder, folder by folder, without those that are ignored. */
export async function walkLocal(
  root: string,
  ignore: Ignore,
  { followLinks }: { followLinks: boolean },
): Promise<LocalFile[]> {
  const ignored = makeMatcher(ignore);
  const found: LocalFile[] = [];
  const visit = async (folder: string, relative: string): Promise<void> => {
    const folders: string[] = [];
    const entries = await readdir(folder, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const { name } = entry;
      const below = relative ? `${relative}/${name}` : name;
      const path = join(folder, name);
      const info = await stat(path).catch(() => undefined); // undefined: a link that leads nowhere
      if (info?.isDirectory()) {
        if ((followLinks || !entry.isSymbolicLink()) && !(ignored.prune && ignored.matches(below))) {
          folders.push(name);
        }
      } else if (info?.isFile() && !ignored.matches(below)) {
        found.push([below, path]);
      }
    }
    for (const name of folders) {
      await visit(join(folder, name), relative ? `${relative}/${name}` : name);
    }
  };
  await visit(root, "");
  return found;
}

/** Sends a tree and returns its digest. Throws as {@link listLocal}, and {@link ExecutionError} for files that change meanwhile. */
export async function sendTree(core: Core, files: LocalFiles): Promise<string> {
  const entries = await listLocal(files);
  if (entries.length === 0) {
    const where = files.kind === "contents" ? "" : ` in ${quote(files.localPath)}`;
    throw new InvalidError(`there are no files to send${where}`);
  }
  const described = await inParallel(entries, describe);
  const rpcs = core.rpc(MountService);
  let response = await core.call(() => rpcs.createMount({ files: described }));
  const missing = new Set(response.missingDigests);
  if (missing.size > 0) {
    const wanted = new Map(described.map((file, i) => [file.digest, [file, entries[i]?.[1] ?? ""] as const]));
    await inParallel(
      [...wanted.values()].filter(([file]) => missing.has(file.digest)),
      ([file, path]) => send(core, file, path),
    );
    response = await core.call(() => rpcs.createMount({ files: described }));
  }
  if (!response.treeDigest) {
    throw new ExecutionError(`${entries[0]?.[1]}: files changed while they were sent; run again`);
  }
  return response.treeDigest;
}

async function describe([name, path]: LocalFile): Promise<MountFile> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
    hash.update(chunk);
    size += chunk.length;
  }
  const { mode } = await stat(path);
  return create(MountFileSchema, {
    path: name,
    digest: `sha256:${hash.digest("hex")}`,
    size: BigInt(size),
    mode: mode & 0o7777,
  });
}

async function send(core: Core, file: MountFile, path: string): Promise<void> {
  const blob = create(BlobRefSchema, { digest: file.digest, size: file.size });
  try {
    await upload(core, blob, () => createReadStream(path, { highWaterMark: READ_BYTES }));
  } catch (error) {
    if (error instanceof InvalidError) {
      throw new ExecutionError(`${path}: was modified while it was sent; run again`, { cause: error });
    }
    throw error;
  }
}

async function checkFile(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) {
    throw new NotFoundError(`local file ${quote(path)} does not exist`);
  }
  if (!info.isFile()) {
    throw new InvalidError(`${quote(path)} is a folder: use addLocalDir`);
  }
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) {
      results[at] = await work(items[at] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker));
  return results;
}
