/** What a sandbox is: parameters, checked, and the message that asks for it. */

import { create } from "@bufbuild/protobuf";
import { type CloudBucketMount, checkMountPaths } from "../bucket.js";
import type { Core } from "../core.js";
import { checkMs, toDuration } from "../duration.js";
import { InvalidError } from "../errors.js";
import { MountSchema, ResourcesSchema } from "../gen/skerry/v1/function_pb.js";
import { PlacementSchema } from "../gen/skerry/v1/options_pb.js";
import { IdleAction, type SandboxDefinition, SandboxDefinitionSchema } from "../gen/skerry/v1/sandbox_definition_pb.js";
import type { Image } from "../image/image.js";
import { sendTree } from "../image/local.js";
import { checkName, checkTags, checkVariables, quote } from "../names.js";
import { type Secret, secretIds } from "../secret.js";
import { type Volume, volumeMounts } from "../storage/volume.js";
import type { EgressSecret } from "./egress.js";
import { type NetworkParams, networkPolicy, type PortParams, portsOf } from "./network.js";
import type { Probe } from "./probe.js";

const MAX_ARGV_BYTES = 65_536;
const MAX_LIFETIME_MS = 30 * 86_400_000;
const MAX_TAGS = 50;

/** Parameters of {@link SandboxService.create}. */
export interface SandboxCreateParams extends NetworkParams, PortParams {
  /** Its command: program and arguments, exactly as the program gets them. Default: the image's, or to wait until it is ended. */
  command?: readonly string[];
  /** Unique among the running sandboxes of the app. */
  name?: string;
  /** Free labels, to find it by. */
  tags?: Readonly<Record<string, string>>;
  /** Who it belongs to, such as a program's run, for {@link SandboxService.prune}. */
  owner?: string;
  /** Environment variables over the image's and those of secrets; those that are null or undefined are left out. */
  env?: Readonly<Record<string, string | null | undefined>>;
  /** Secrets whose values become environment variables; a later one wins. */
  secrets?: readonly Secret[];
  /** Volumes, by the absolute path where each is mounted. */
  volumes?: Readonly<Record<string, Volume>>;
  /** Buckets, by the absolute path where each is mounted. */
  cloudBucketMounts?: Readonly<Record<string, CloudBucketMount>>;
  /** Values that stay outside, and are put into requests to hosts that they name. */
  egressSecrets?: readonly EgressSecret[];
  /** How long it lives at most, 1 s to 30 days (300000). */
  timeoutMs?: number;
  /** How long it lives without use: no process, no stream and no connection; default: as long as timeoutMs says. */
  idleTimeoutMs?: number;
  /** What happens when idleTimeoutMs has passed ("terminate"); whoever uses a paused sandbox has it resumed. */
  onIdle?: "terminate" | "pause";
  /** Absolute; default: the image's. */
  workdir?: string;
  /** Cores wanted. */
  cpu?: number;
  /** Most cores. */
  cpuLimit?: number;
  /** Memory wanted, in MiB. */
  memoryMiB?: number;
  /** Most memory, in MiB. */
  memoryLimitMiB?: number;
  /** Size of its disk, in MiB. */
  ephemeralDiskMiB?: number;
  /** Where it may be. */
  regions?: readonly string[];
  /** The cloud that it is to be in. */
  cloud?: string;
  /** Give its command a terminal. */
  pty?: boolean;
  /** Says when it is ready, for {@link Sandbox.waitUntilReady}. */
  readinessProbe?: Probe;
  /** Give it the socket of the gateway, with the rights of its app. */
  gatewayAccess?: boolean;
  /** Log more about it. */
  verbose?: boolean;
  /** Parent domain of its URLs, instead of the installation's. */
  customDomain?: string;
}

/** Returns what is asked for, without what has to be brought to the server first. Throws {@link InvalidError}. */
export function checkDefinition(params: SandboxCreateParams): SandboxDefinition {
  const { blockNetwork = false, cloud, onIdle = "terminate", regions = [], egressSecrets = [] } = params;
  if (onIdle !== "terminate" && onIdle !== "pause") {
    throw new InvalidError(`onIdle ${quote(onIdle)}: want 'terminate' or 'pause'`);
  }
  if (egressSecrets.length > 0 && blockNetwork) {
    throw new InvalidError("egressSecrets need a network, and blockNetwork is set");
  }
  checkMountPaths({ ...params.volumes, ...params.cloudBucketMounts });
  const definition = create(SandboxDefinitionSchema, {
    argv: checkArgv("sandboxes.create", params.command ?? []),
    name: params.name === undefined ? "" : checkName("sandbox", params.name),
    tags: checkSandboxTags(params.tags ?? {}),
    owner: checkOwner(params.owner ?? ""),
    env: checkVariables("sandboxes.create: env", params.env ?? {}),
    timeout: toDuration(checkLifetime("timeoutMs", params.timeoutMs ?? 300_000)),
    onIdle: onIdle === "pause" ? IdleAction.PAUSE : IdleAction.UNSPECIFIED,
    workdir: checkWorkdir(params.workdir),
    resources: checkResources(params),
    network: networkPolicy(params),
    ports: portsOf(params, blockNetwork),
    volumeMounts: volumeMounts(params.volumes ?? {}),
    pty: params.pty ?? false,
    gatewayAccess: params.gatewayAccess ?? false,
    verbose: params.verbose ?? false,
    customDomain: params.customDomain ?? "",
    placement: create(PlacementSchema, { regions: [...regions], clouds: cloud && cloud !== "auto" ? [cloud] : [] }),
  });
  if (params.idleTimeoutMs !== undefined) {
    definition.idleTimeout = toDuration(checkLifetime("idleTimeoutMs", params.idleTimeoutMs));
  }
  if (params.readinessProbe !== undefined) {
    definition.probe = params.readinessProbe.message;
  }
  return definition;
}

/** Brings what a definition needs to the server: the image is built, local files and secrets are sent. */
export async function loadDefinition(
  core: Core,
  appId: string,
  image: Image,
  definition: SandboxDefinition,
  params: Pick<SandboxCreateParams, "secrets" | "egressSecrets" | "cloudBucketMounts">,
): Promise<void> {
  const [imageId, ids, egress, bucketMounts, mounts] = await Promise.all([
    image.buildFor(appId),
    secretIds(core, appId, params.secrets ?? []),
    Promise.all((params.egressSecrets ?? []).map((secret) => secret.resolve(core, appId))),
    Promise.all(Object.entries(params.cloudBucketMounts ?? {}).map(([path, bucket]) => bucket.at(core, appId, path))),
    Promise.all(
      image.spec.mounts.map(async ({ files, remotePath }) =>
        create(MountSchema, { remotePath, treeDigest: await sendTree(core, files) }),
      ),
    ),
  ]);
  Object.assign(definition, { imageId, secretIds: ids, egressSecrets: egress, bucketMounts, mounts });
}

/** Returns a command. Throws {@link InvalidError} for one that can't be any. */
export function checkArgv(noun: string, argv: readonly string[]): string[] {
  let bytes = 0;
  for (const arg of argv) {
    if (typeof arg !== "string") {
      throw new InvalidError(`${noun}: all arguments must be strings, got ${typeof arg}`);
    }
    if (arg.includes("\0")) {
      throw new InvalidError(`${noun}: arguments can't contain a NUL character`);
    }
    bytes += Buffer.byteLength(arg);
  }
  if (bytes > MAX_ARGV_BYTES) {
    throw new InvalidError(`${noun}: the arguments take ${bytes} bytes; the most is ${MAX_ARGV_BYTES}`);
  }
  return [...argv];
}

/** Returns a working directory, "" for none. Throws {@link InvalidError} unless it is absolute. */
export function checkWorkdir(workdir: string | undefined): string {
  if (workdir !== undefined && !workdir.startsWith("/")) {
    throw new InvalidError(`workdir ${quote(workdir)}: want an absolute path`);
  }
  return workdir ?? "";
}

/** Returns how long a sandbox lives. Throws {@link InvalidError}. */
export function checkLifetime(noun: string, ms: number): number {
  return checkMs(noun, ms, { min: 1000, max: MAX_LIFETIME_MS });
}

/** Returns tags of a sandbox. Throws {@link InvalidError}. */
export function checkSandboxTags(tags: Readonly<Record<string, string>>): Record<string, string> {
  const checked = checkTags("sandbox", tags);
  const count = Object.keys(checked).length;
  if (count > MAX_TAGS) {
    throw new InvalidError(`sandbox tags: there are ${count}; the most is ${MAX_TAGS}`);
  }
  return checked;
}

function checkOwner(owner: string): string {
  if (Buffer.byteLength(owner) > 128) {
    throw new InvalidError("owner: want at most 128 bytes");
  }
  return owner;
}

function checkResources(params: SandboxCreateParams) {
  const { cpu, cpuLimit, memoryMiB, memoryLimitMiB, ephemeralDiskMiB } = params;
  for (const [noun, value] of Object.entries({ cpu, cpuLimit, memoryMiB, memoryLimitMiB, ephemeralDiskMiB })) {
    if (value !== undefined && !(value > 0 && (noun.startsWith("cpu") || Number.isInteger(value)))) {
      throw new InvalidError(`${noun} ${value}: want a positive number`);
    }
  }
  if ((cpuLimit ?? cpu ?? 0) < (cpu ?? 0) || (memoryLimitMiB ?? memoryMiB ?? 0) < (memoryMiB ?? 0)) {
    throw new InvalidError("cpu and memoryMiB: a limit is less than its request");
  }
  return create(ResourcesSchema, {
    cpuMilli: Math.round((cpu ?? 0) * 1000),
    cpuLimitMilli: Math.round((cpuLimit ?? 0) * 1000),
    memoryMib: memoryMiB ?? 0,
    memoryLimitMib: memoryLimitMiB ?? 0,
    ephemeralDiskMib: ephemeralDiskMiB ?? 0,
  });
}
