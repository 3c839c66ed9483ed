/** States of sandboxes: their files as images, and their files with all that runs as snapshots. */

import type { Core } from "../core.js";
import { checkMs, fromTimestamp, toDuration } from "../duration.js";
import { InvalidError, ServiceError, TimeoutError } from "../errors.js";
import { SnapshotService as SnapshotRpcs } from "../gen/skerry/v1/snapshot_pb.js";
import type { Image } from "../image/image.js";
import type { ImageService } from "../image/service.js";
import { newId, quote } from "../names.js";
import { checkPath } from "./filesystem.js";
import type { Reach } from "./reach.js";

const TIMEOUT_MS = 55_000;
const MAX_FORKS = 100;

/** How long a snapshot may take; then {@link TimeoutError}. */
export interface SnapshotTimeout {
  /** (55000) */
  timeoutMs?: number;
}

/** Parameters of {@link Sandbox.snapshotFilesystem} and {@link Sandbox.snapshotDirectory}. */
export interface SnapshotParams extends SnapshotTimeout {
  /** How long the image is kept after its last use, whole seconds; null: for ever (30 days). */
  ttlMs?: number | null;
}

/** A sandbox with its memory, kept. {@link SandboxService.fromSnapshot} makes sandboxes of it. */
export class SandboxSnapshot {
  /** "sn-...". */
  readonly snapshotId: string;

  /** @internal */
  constructor(snapshotId: string) {
    this.snapshotId = snapshotId;
  }
}

/** What the server knows of a snapshot. */
export interface SandboxSnapshotInfo {
  snapshotId: string;
  /** The sandbox that it was made of. */
  sandboxId: string;
  appId: string;
  /** Bytes. */
  size: number;
  createdAt: Date | null;
  /** When it goes; null: never. */
  expiresAt: Date | null;
}

/** Snapshots of sandboxes with their memory. Get it as {@link SkerryClient.sandboxSnapshots}. */
export class SandboxSnapshotService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Returns a snapshot by its id, "sn-...". Throws {@link NotFoundError}. */
  async fromId(snapshotId: string): Promise<SandboxSnapshot> {
    return new SandboxSnapshot((await this.info(snapshotId)).snapshotId);
  }

  /** Says what the server knows of a snapshot. Throws {@link NotFoundError}. */
  async info(snapshotId: string): Promise<SandboxSnapshotInfo> {
    if (!snapshotId.startsWith("sn-")) {
      throw new InvalidError(`snapshot id ${quote(snapshotId)}: want one such as 'sn-...'`);
    }
    const found = await this.#core.call(() => this.#core.rpc(SnapshotRpcs).getSnapshot({ snapshotId }));
    return {
      snapshotId: found.snapshotId,
      sandboxId: found.sandboxId,
      appId: found.appId,
      size: Number(found.size),
      createdAt: fromTimestamp(found.createdAt),
      expiresAt: fromTimestamp(found.expiresAt),
    };
  }

  /** Forgets a snapshot. Sandboxes that were restored from it run on. Throws {@link NotFoundError}. */
  async delete(snapshotId: string): Promise<void> {
    await this.#core.call(() => this.#core.rpc(SnapshotRpcs).deleteSnapshot({ snapshotId }));
  }
}

/** Makes an image of a sandbox's files. */
export async function snapshotFilesystem(reach: Reach, images: ImageService, params: SnapshotParams): Promise<Image> {
  const { core, sandboxId } = reach;
  const request = { sandboxId, ...limit(params), ...ttl(params) };
  const answer = await within("snapshotFilesystem", () => core.rpc(SnapshotRpcs).snapshotFilesystem(request), core);
  return images.existing(answer.imageId);
}

/** Makes an image of one directory. */
export async function snapshotDirectory(
  reach: Reach,
  images: ImageService,
  path: string,
  params: SnapshotParams,
): Promise<Image> {
  const { core, sandboxId } = reach;
  const request = { sandboxId, path: checkPath(path), ...limit(params), ...ttl(params) };
  const answer = await within("snapshotDirectory", () => core.rpc(SnapshotRpcs).snapshotDirectory(request), core);
  return images.existing(answer.imageId);
}

/** Shows an image's files at a path. */
export async function mountImage({ core, sandboxId }: Reach, path: string, image: Image | undefined): Promise<void> {
  const request = { sandboxId, path: checkPath(path), imageId: image === undefined ? "" : mountable(image) };
  await core.call(() => core.rpc(SnapshotRpcs).mountImage(request));
}

/** Takes a mounted image away. */
export async function unmountImage({ core, sandboxId }: Reach, path: string): Promise<void> {
  const request = { sandboxId, path: checkPath(path) };
  await core.call(() => core.rpc(SnapshotRpcs).unmountImage(request));
}

/** Keeps a sandbox with its memory. */
export async function snapshotSandbox({ core, sandboxId }: Reach, params: SnapshotParams): Promise<SandboxSnapshot> {
  const request = { sandboxId, ...limit(params), ...ttl(params) };
  const answer = await within("snapshot", () => core.rpc(SnapshotRpcs).snapshotSandbox(request), core);
  return new SandboxSnapshot(answer.snapshotId);
}

/** Makes sandboxes that go on from where one is. Returns what the server says of them. */
export async function forkSandbox({ core, sandboxId }: Reach, count: number, params: SnapshotTimeout) {
  if (!Number.isInteger(count) || count < 1 || count > MAX_FORKS) {
    throw new InvalidError(`fork(${count}): want a number from 1 to ${MAX_FORKS}`);
  }
  const forkIds = Array.from({ length: count }, () => newId("sb-"));
  const request = { sandboxId, forkIds, ...limit(params) };
  return (await within("fork", () => core.rpc(SnapshotRpcs).forkSandbox(request), core)).sandboxes;
}

/** Keeps a sandbox on its worker's disk and frees all else. */
export async function pauseSandbox({ core, sandboxId }: Reach, params: SnapshotTimeout) {
  const request = { sandboxId, ...limit(params) };
  return (await within("pause", () => core.rpc(SnapshotRpcs).pauseSandbox(request), core)).sandbox;
}

/** Has a paused sandbox run on. */
export async function resumeSandbox({ core, sandboxId }: Reach) {
  return (await core.call(() => core.rpc(SnapshotRpcs).resumeSandbox({ sandboxId }))).sandbox;
}

/** Does an RPC that has a limit of its own: one that passed is a {@link TimeoutError}. */
async function within<T>(what: string, rpc: () => Promise<T>, core: Core): Promise<T> {
  try {
    return await core.call(rpc);
  } catch (error) {
    if (error instanceof ServiceError && isDeadline(error.cause)) {
      throw new TimeoutError(`${what}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

function isDeadline(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === 4;
}

function limit(params: SnapshotTimeout) {
  return { limit: toDuration(checkMs("timeoutMs", params.timeoutMs ?? TIMEOUT_MS, { min: 1 })) };
}

function ttl({ ttlMs }: SnapshotParams) {
  if (ttlMs === undefined) {
    return {};
  }
  const ms = ttlMs === null ? 0 : checkMs("ttlMs", ttlMs, { min: 1000, wholeSeconds: true });
  return { ttlSeconds: BigInt(ms / 1000) };
}

function mountable(image: Image): string {
  if (image.spec.mounts.length > 0) {
    throw new InvalidError("mountImage: the image has local files that are mounted (addLocal... without copy: true)");
  }
  if (image.isEmpty) {
    return "";
  }
  if (!image.imageId) {
    throw new InvalidError("mountImage: the image has not been built; use image.build(app) first");
  }
  return image.imageId;
}
