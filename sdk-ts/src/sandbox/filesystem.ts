import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { toDuration } from "../duration.js";
import {
  AuthError,
  ConflictError,
  DataLossError,
  InvalidError,
  NotFoundError,
  PermissionDeniedError,
  SandboxFilesystemDirectoryNotEmptyError,
  SandboxFilesystemError,
  SandboxFilesystemFileTooLargeError,
  SandboxFilesystemIsADirectoryError,
  SandboxFilesystemNotADirectoryError,
  SandboxFilesystemNotFoundError,
  SandboxFilesystemPathAlreadyExistsError,
  SandboxFilesystemPermissionError,
  SkerryError,
} from "../errors.js";
import * as faults from "../faults.js";
import {
  FileFaultKind,
  FileFaultSchema,
  FilesystemService,
  type WriteFileRequest,
  WriteFileRequestSchema,
  type WriteFileStart,
  WriteFileStartSchema,
} from "../gen/skerry/v1/filesystem_pb.js";
import { quote } from "../names.js";
import {
  type FileInfo,
  type FileWatchEvent,
  type FileWatchEventType,
  fileEvent,
  fileInfo,
  wireEvent,
} from "./files.js";
import type { Inside } from "./inside.js";

const FRAME_BYTES = 1 << 20;
/** The largest file that is read into memory. */
const MAX_READ_BYTES = 1 << 30;

const BY_KIND: Partial<Record<FileFaultKind, new (message: string, options?: ErrorOptions) => SandboxFilesystemError>> =
  {
    [FileFaultKind.NOT_FOUND]: SandboxFilesystemNotFoundError,
    [FileFaultKind.IS_DIRECTORY]: SandboxFilesystemIsADirectoryError,
    [FileFaultKind.NOT_DIRECTORY]: SandboxFilesystemNotADirectoryError,
    [FileFaultKind.ALREADY_EXISTS]: SandboxFilesystemPathAlreadyExistsError,
    [FileFaultKind.PERMISSION_DENIED]: SandboxFilesystemPermissionError,
    [FileFaultKind.DIRECTORY_NOT_EMPTY]: SandboxFilesystemDirectoryNotEmptyError,
    [FileFaultKind.TOO_LARGE]: SandboxFilesystemFileTooLargeError,
  };

/** Parameters of {@link SandboxFilesystem.watch}. */
export interface FileWatchParams {
  /** Only these; default: all. */
  filter?: readonly FileWatchEventType[];
  /** With all directories below, also those that are made later. */
  recursive?: boolean;
  /** End after this; default: never. */
  timeoutMs?: number;
}

type Bytes = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** The files of a sandbox or a sidecar. Paths are absolute. All is done inside the sandbox, so that no path leads out of it. */
export class SandboxFilesystem {
  readonly #inside: Inside;

  /** @internal */
  constructor(inside: Inside) {
    this.#inside = inside;
  }

  /** Copies a local file into the sandbox, streamed. Missing directories are made, an existing file is replaced at the end. */
  async copyFromLocal(localPath: string, remotePath: string): Promise<void> {
    await this.#write(remotePath, () => createReadStream(localPath, { highWaterMark: FRAME_BYTES }));
  }

  /** Copies a file of the sandbox here, streamed. Missing directories are made, an existing file is replaced at the end. */
  async copyToLocal(remotePath: string, localPath: string): Promise<void> {
    const target = resolve(localPath);
    const draft = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}.part`;
    await mkdir(dirname(target), { recursive: true });
    const file = await open(draft, "wx");
    try {
      for await (const part of this.readStream(remotePath)) {
        await file.writeFile(part);
      }
      await file.close();
      await rename(draft, target);
    } catch (error) {
      await file.close().catch(() => {});
      await rm(draft, { force: true });
      throw error;
    }
  }

  /** Returns a file's bytes. Throws {@link SandboxFilesystemFileTooLargeError} over 1 GiB: read that by {@link readStream}. */
  async readBytes(path: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of this.#read(path, MAX_READ_BYTES)) {
      parts.push(part);
    }
    return new Uint8Array(Buffer.concat(parts));
  }

  /** Returns a file's text. Throws {@link SandboxFilesystemError} for one that is no UTF-8. */
  async readText(path: string): Promise<string> {
    const bytes = await this.readBytes(path);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw new SandboxFilesystemError(`${path}: is no text in UTF-8; use readBytes()`, { cause: error });
    }
  }

  /** Yields a file's bytes in parts of at most 1 MiB. A connection that is lost is gone on with where it was. */
  readStream(path: string): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#read(path, 0);
  }

  /** Makes or replaces a file. Missing directories are made. */
  async writeBytes(data: Uint8Array, path: string): Promise<void> {
    if (!(data instanceof Uint8Array)) {
      throw new TypeError("writeBytes takes bytes and then a path");
    }
    await this.#write(path, () => slices(data));
  }

  /** Makes or replaces a file. Missing directories are made. */
  async writeText(text: string, path: string): Promise<void> {
    if (typeof text !== "string" || typeof path !== "string") {
      throw new TypeError("writeText takes a text and then a path");
    }
    await this.writeBytes(new TextEncoder().encode(text), path);
  }

  /** Makes or replaces a file with what an iterable or a Web Stream gives. It is read once: a lost connection is an error. */
  async writeStream(data: Bytes, path: string): Promise<void> {
    await this.#write(path, () => data, false);
  }

  /** Lists a directory, by name. */
  async listFiles(path: string): Promise<FileInfo[]> {
    const request = { path: checkPath(path) };
    return await this.#call(async () => {
      const files: FileInfo[] = [];
      for await (const response of this.#rpc.listFiles(request)) {
        files.push(...response.files.map(fileInfo));
      }
      return files;
    });
  }

  /** Describes a file; a symbolic link itself, not what it leads to. */
  async stat(path: string): Promise<FileInfo> {
    const request = { path: checkPath(path) };
    const { info } = await this.#call(() => this.#rpc.statFile(request));
    if (info === undefined) {
      throw new SandboxFilesystemError(`${path}: the sandbox did not describe it`);
    }
    return fileInfo(info);
  }

  /** Makes a directory. With `createParents` (true) missing ones above it as well, and one that is there is no error. */
  async makeDirectory(path: string, params: { createParents?: boolean } = {}): Promise<void> {
    const request = { path: checkPath(path), makeParents: params.createParents ?? true };
    await this.#call(() => this.#rpc.makeDirectory(request));
  }

  /** Removes a file, a link itself, or a directory; with `recursive` all that is in it. */
  async remove(path: string, params: { recursive?: boolean } = {}): Promise<void> {
    const request = { path: checkPath(path), recursive: params.recursive ?? false };
    await this.#call(() => this.#rpc.removeFile(request));
  }

  /** Renames a file or directory; an existing file is replaced. */
  async move(path: string, newPath: string): Promise<void> {
    const request = { path: checkPath(path), newPath: checkPath(newPath) };
    await this.#call(() => this.#rpc.moveFile(request));
  }

  /**
   * Yields changes below a path, from the moment that the first of them is asked for; a rename has both paths. Stop reading to end it.
   *
   * A connection that is lost is an error: what happened meanwhile is not known.
   */
  async *watch(path: string, params: FileWatchParams = {}): AsyncGenerator<FileWatchEvent, void, undefined> {
    for await (const event of await this.watching(path, params)) {
      yield event;
    }
  }

  /** Like {@link watch}, but resolves once changes are seen: what happens from then on is in what it returns. */
  async watching(path: string, params: FileWatchParams = {}): Promise<AsyncGenerator<FileWatchEvent, void, undefined>> {
    this.#inside.check();
    const { filter = [], recursive = false, timeoutMs } = params;
    const { signal, end } = this.#inside.lease();
    const request = {
      path: checkPath(path),
      recursive,
      filter: filter.map(wireEvent),
      ...(timeoutMs !== undefined && { timeout: toDuration(timeoutMs) }),
    };
    const responses = this.#rpc.watchFiles(request, { signal })[Symbol.asyncIterator]();
    const next = async () => {
      try {
        return await responses.next();
      } catch (error) {
        end();
        throw fileFault(error);
      }
    };
    await next(); // the frame that says that changes are seen
    return (async function* () {
      try {
        for (let result = await next(); !result.done; result = await next()) {
          yield fileEvent(result.value);
        }
      } finally {
        end();
      }
    })();
  }

  get #rpc() {
    return this.#inside.rpc(FilesystemService);
  }

  async #call<T>(rpc: () => Promise<T>): Promise<T> {
    return await this.#inside.call(() => rpc().catch((error: unknown) => rethrow(error)));
  }

  async *#read(path: string, maxSize: number): AsyncGenerator<Uint8Array, void, undefined> {
    this.#inside.check();
    const retries = this.#inside.core.retries();
    let offset = 0;
    let version: string | undefined;
    for (;;) {
      const { signal, end } = this.#inside.lease();
      try {
        const request = { path: checkPath(path), offset: BigInt(offset), maxSize: BigInt(maxSize) };
        for await (const { info, data } of this.#rpc.readFile(request, { signal })) {
          retries.succeeded();
          if (info !== undefined) {
            const seen = `${info.size} ${info.modifiedAt?.seconds}.${info.modifiedAt?.nanos}`;
            if (version !== undefined && version !== seen) {
              throw new DataLossError(`${path}: was changed while it was read; read it again`);
            }
            version = seen;
          }
          if (data.length > 0) {
            offset += data.length;
            yield data;
          }
        }
        return;
      } catch (error) {
        this.#inside.check();
        if (error instanceof SkerryError || !faults.isAway(error) || !(await retries.wait(error))) {
          throw fileFault(error);
        }
      } finally {
        end();
      }
    }
  }

  async #write(path: string, read: () => Bytes, again = true): Promise<void> {
    const start = create(WriteFileStartSchema, { path: checkPath(path), makeParents: true });
    const write = async () => {
      const { signal, end } = this.#inside.lease();
      try {
        return await this.#rpc.writeFile(frames(start, read()), { signal });
      } finally {
        end();
      }
    };
    if (again) {
      await this.#call(write);
      return;
    }
    this.#inside.check();
    await write().catch((error: unknown) => {
      throw fileFault(error);
    });
  }
}

async function* frames(start: WriteFileStart, parts: Bytes): AsyncGenerator<WriteFileRequest, void, undefined> {
  yield create(WriteFileRequestSchema, { start });
  for await (const part of parts) {
    for (const data of slices(part)) {
      yield create(WriteFileRequestSchema, { data });
    }
  }
  yield create(WriteFileRequestSchema, { end: true });
}

function* slices(data: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < data.length; at += FRAME_BYTES) {
    yield data.subarray(at, at + FRAME_BYTES);
  }
}

/** Returns an absolute path. Throws {@link InvalidError}. */
export function checkPath(path: string): string {
  if (typeof path !== "string" || !path.startsWith("/")) {
    throw new InvalidError(`path ${quote(path)}: want an absolute one, such as '/data'`);
  }
  return path;
}

/** Throws an error about files as what it is; one of the connection as it is, for that is tried again. */
function rethrow(error: unknown): never {
  throw faults.isAway(error) ? error : fileFault(error);
}

function fileFault(reason: unknown): SkerryError {
  if (reason instanceof SkerryError) {
    return reason;
  }
  const error = ConnectError.from(reason);
  const [fault] = error.findDetails(FileFaultSchema);
  if (fault !== undefined) {
    return new (BY_KIND[fault.kind] ?? SandboxFilesystemError)(error.rawMessage, { cause: reason });
  }
  const made = faults.from(reason);
  // The sandbox itself: it has ended, or is not there.
  const own = [NotFoundError, AuthError, PermissionDeniedError, ConflictError, InvalidError];
  return own.some((kind) => made instanceof kind)
    ? made
    : new SandboxFilesystemError(error.rawMessage, { cause: reason });
}
