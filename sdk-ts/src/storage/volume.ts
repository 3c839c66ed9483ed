/** Volumes: trees of files in versions, for everything in an environment. */

import { create } from "@bufbuild/protobuf";
import type { Core } from "../core.js";
import { fromTimestamp } from "../duration.js";
import { InvalidError } from "../errors.js";
import { type VolumeEntry, VolumeEntryType } from "../gen/skerry/v1/volume_entry_pb.js";
import { type VolumeMount, VolumeMountSchema } from "../gen/skerry/v1/volume_mount_pb.js";
import { VolumeService as VolumeRpcs } from "../gen/skerry/v1/volume_pb.js";
import { quote } from "../names.js";
import {
  EphemeralRegistry,
  type Life,
  type ObjectDeleteParams,
  type ObjectEphemeralParams,
  type ObjectFromNameParams,
} from "./named.js";

/** Parameters of {@link Volume.withMountOptions}; those that are left out stay as they are. */
export interface VolumeMountParams {
  /** Containers can't change it. */
  readOnly?: boolean;
  /** The folder of the volume that containers see, made where it is not there; "/": all of it. */
  subPath?: string;
}

/** Parameters of {@link Volume.listFiles}. */
export interface VolumeListParams {
  /** What is in folders as well. */
  recursive?: boolean;
  /** Of this version; default: the newest. */
  version?: bigint;
}

/** Parameters of {@link Volume.readFile}. */
export interface VolumeReadParams {
  /** The first byte (0). */
  offset?: number;
  /** How many bytes at most; default: to the end. */
  length?: number;
  /** Of this version; default: the newest. */
  version?: bigint;
}

/** Describes a file of a volume. */
export interface VolumeFile {
  /** From the root of the volume, without a slash in front. */
  path: string;
  type: "file" | "directory" | "symlink" | "fifo" | "socket";
  /** Bytes. */
  size: number;
  /** Permission bits. */
  mode: number;
  modifiedTime: Date;
}

const TYPES: Readonly<Record<VolumeEntryType, VolumeFile["type"]>> = {
  [VolumeEntryType.UNSPECIFIED]: "file",
  [VolumeEntryType.FILE]: "file",
  [VolumeEntryType.DIRECTORY]: "directory",
  [VolumeEntryType.SYMLINK]: "symlink",
  [VolumeEntryType.FIFO]: "fifo",
  [VolumeEntryType.SOCKET]: "socket",
};

/**
 * A tree of files that containers share, in versions. Get one from {@link VolumeService}, and mount it with `volumes`.
 *
 * What a container writes is seen by others once it is committed: every few seconds, and when the container ends. Others see it when they
 * are started, or with {@link Sandbox.reloadVolumes}.
 */
export class Volume implements AsyncDisposable {
  /** "vo-...". */
  readonly volumeId: string;
  /** Its name; undefined: it is ephemeral. */
  readonly name: string | undefined;
  /** Containers can't change it. */
  readonly isReadOnly: boolean;
  readonly #core: Core;
  readonly #life: Life | undefined;
  readonly #subPath: string;

  /** @internal */
  constructor(
    core: Core,
    about: { id: string; name: string },
    life?: Life,
    mount: Required<VolumeMountParams> = WHOLE,
  ) {
    this.#core = core;
    this.volumeId = about.id;
    this.name = about.name || undefined;
    this.#life = life;
    this.isReadOnly = mount.readOnly;
    this.#subPath = mount.subPath;
  }

  /** Returns the same volume with other options where it is mounted. Throws {@link InvalidError}. */
  withMountOptions(params: VolumeMountParams): Volume {
    const { readOnly = this.isReadOnly } = params;
    const subPath = params.subPath === undefined ? this.#subPath : checkSubPath(params.subPath);
    return new Volume(this.#core, { id: this.volumeId, name: this.name ?? "" }, this.#life, { readOnly, subPath });
  }

  /** Returns the same volume, which containers can't change. */
  readOnly(): Volume {
    return this.withMountOptions({ readOnly: true });
  }

  /** Yields what is at a path of the newest version, in the order of paths. Throws {@link NotFoundError}. */
  async *listFiles(path = "/", params: VolumeListParams = {}): AsyncGenerator<VolumeFile, void, undefined> {
    const request = {
      volumeId: this.volumeId,
      path,
      recursive: params.recursive ?? false,
      version: params.version ?? 0n,
    };
    const rpcs = this.#core.rpc(VolumeRpcs);
    for await (const { entries } of this.#core.stream((signal) => rpcs.listVolumeFiles(request, { signal }))) {
      yield* entries.map(volumeFile);
    }
  }

  /** Yields the bytes of a file, or of a part of it, of one version. Throws {@link NotFoundError}, {@link ConflictError} for what is no file. */
  async *readFile(path: string, params: VolumeReadParams = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { offset = 0, length = 0, version = 0n } = params;
    for (const [noun, value] of Object.entries({ offset, length })) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new InvalidError(`readFile: ${noun} is ${value}; want a whole number from 0 on`);
      }
    }
    if (params.length === 0) {
      return;
    }
    const request = { volumeId: this.volumeId, path, offset: BigInt(offset), length: BigInt(length), version };
    const rpcs = this.#core.rpc(VolumeRpcs);
    for await (const { data } of this.#core.stream((signal) => rpcs.readVolumeFile(request, { signal }))) {
      if (data.length > 0) {
        yield data;
      }
    }
  }

  /** Deletes an ephemeral volume, without waiting for it. */
  closeEphemeral(): void {
    if (this.#life === undefined) {
      throw new InvalidError(`volume ${quote(this.name ?? this.volumeId)} is not ephemeral; volumes.delete deletes it`);
    }
    void this.#life.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life?.end();
  }

  /** @internal Returns what to mount at a path. */
  at(mountPath: string): VolumeMount {
    const { volumeId, isReadOnly: readOnly } = this;
    return create(VolumeMountSchema, { mountPath, volumeId, readOnly, subPath: this.#subPath });
  }
}

const WHOLE = { readOnly: false, subPath: "" };

/** Volumes. Get it as {@link SkerryClient.volumes}. */
export class VolumeService {
  readonly #registry: EphemeralRegistry;

  /** @internal */
  constructor(core: Core) {
    const rpcs = core.rpc(VolumeRpcs);
    this.#registry = new EphemeralRegistry(core, {
      noun: "volume",
      prefix: "vo",
      get: (name, environment, creation) => rpcs.getVolume({ name, environment, creation }),
      describe: (volumeId) => rpcs.describeVolume({ volumeId }),
      remove: (volumeId) => rpcs.deleteVolume({ volumeId }),
      keep: (volumeId) => rpcs.keepVolume({ volumeId }),
    });
  }

  /** Returns the volume of a name. Throws {@link NotFoundError}, unless `createIfMissing` is given. */
  async fromName(name: string, params: ObjectFromNameParams = {}): Promise<Volume> {
    return new Volume(this.#registry.core, await this.#registry.fromName(name, params));
  }

  /** Returns the volume that has an id, "vo-...". Throws {@link NotFoundError}. */
  async fromId(volumeId: string): Promise<Volume> {
    return new Volume(this.#registry.core, await this.#registry.fromId(volumeId));
  }

  /** Makes a volume without a name, for `await using`. It goes two minutes after this process, or with {@link Volume.closeEphemeral}. */
  async ephemeral(params: ObjectEphemeralParams = {}): Promise<Volume> {
    const { info, life } = await this.#registry.ephemeral(params);
    return new Volume(this.#registry.core, info, life);
  }

  /** Deletes a volume with all its versions, for good. Throws {@link NotFoundError}, unless `allowMissing` is given. */
  async delete(name: string, params: ObjectDeleteParams = {}): Promise<void> {
    await this.#registry.delete(name, params);
  }
}

/** @internal Returns what is mounted where. Throws {@link InvalidError} where one volume is mounted twice. */
export function volumeMounts(volumes: Readonly<Record<string, Volume>>): VolumeMount[] {
  const paths = new Map<string, string>();
  return Object.entries(volumes).map(([path, volume]) => {
    const before = paths.get(volume.volumeId);
    if (before !== undefined) {
      throw new InvalidError(
        `volume ${quote(volume.name ?? volume.volumeId)} is mounted at ${quote(before)} and at ${quote(path)}; mount it once`,
      );
    }
    paths.set(volume.volumeId, path);
    return volume.at(path);
  });
}

function volumeFile(entry: VolumeEntry): VolumeFile {
  const { path, type, size, mode, modifiedAt } = entry;
  return {
    path,
    type: TYPES[type],
    size: Number(size),
    mode,
    modifiedTime: fromTimestamp(modifiedAt) ?? new Date(0),
  };
}

function checkSubPath(subPath: string): string {
  const parts = subPath.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || subPath.includes("\0")) {
    throw new InvalidError(`subPath ${quote(subPath)}: want a folder of the volume, without ".."`);
  }
  return parts.join("/");
}
