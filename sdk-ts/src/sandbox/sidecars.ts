import { create } from "@bufbuild/protobuf";
import { checkMountPaths } from "../bucket.js";
import { toDuration } from "../duration.js";
import { InvalidError, NotFoundError, ServiceError } from "../errors.js";
import { SandboxDefinitionSchema } from "../gen/skerry/v1/sandbox_definition_pb.js";
import { type SidecarInfo, SidecarService as SidecarRpcs } from "../gen/skerry/v1/sidecar_pb.js";
import type { Image } from "../image/image.js";
import { checkName, checkVariables, newId, quote } from "../names.js";
import type { Secret } from "../secret.js";
import { type Volume, volumeMounts } from "../storage/volume.js";
import { checkArgv, checkWorkdir, loadDefinition } from "./definition.js";
import {
  findProcess,
  type SandboxExecParams,
  type SandboxProcessParams,
  SecretKeeper,
  startProcess,
} from "./execution.js";
import { SandboxFilesystem } from "./filesystem.js";
import { Inside } from "./inside.js";
import type { ContainerProcess } from "./process.js";
import { type Reach, reloadVolumes } from "./reach.js";

const WAIT_MS = 60_000;

/** Parameters of {@link SidecarService.create}. */
export interface SidecarCreateParams {
  /** Its command; default: the image's, or to wait until it is ended. */
  command?: readonly string[];
  /** Environment variables. */
  env?: Readonly<Record<string, string | null | undefined>>;
  /** Secrets that become environment variables. */
  secrets?: readonly Secret[];
  /** Absolute; default: the image's. */
  workdir?: string;
  /**
   * Volumes, by the absolute path where each is mounted. One that the sandbox has mounted as well, the same part of it, is one for both: each
   * sees at once what the other writes.
   */
  volumes?: Readonly<Record<string, Volume>>;
  /** Give its command a terminal. */
  pty?: boolean;
}

/** A further container in a sandbox: files and processes of its own; the sandbox's network, limits and end. */
export class SidecarContainer {
  /** "sc-...". */
  readonly sidecarId: string;
  /** Unique in its sandbox. */
  readonly name: string;
  /** Its files. */
  readonly filesystem: SandboxFilesystem;
  readonly #reach: Reach;
  readonly #inside: Inside;
  readonly #keeper: SecretKeeper;
  #info: SidecarInfo;

  /** @internal */
  constructor(reach: Reach, appId: string, info: SidecarInfo) {
    this.sidecarId = info.sidecarId;
    this.name = info.name;
    this.#reach = reach;
    this.#info = info;
    this.#inside = new Inside(reach.core, `/sandboxes/${reach.sandboxId}/sidecars/${info.name}`);
    this.#keeper = new SecretKeeper(this.#inside, reach.sandboxId, appId);
    this.filesystem = new SandboxFilesystem(this.#inside);
  }

  /** Starts a process, as {@link Sandbox.exec} does. */
  async exec(command: readonly string[], params?: SandboxExecParams & { mode?: "text" }): Promise<ContainerProcess>;
  async exec(
    command: readonly string[],
    params: SandboxExecParams & { mode: "binary" },
  ): Promise<ContainerProcess<Uint8Array>>;
  async exec(
    command: readonly string[],
    params: SandboxExecParams = {},
  ): Promise<ContainerProcess<string | Uint8Array>> {
    return await startProcess(this.#inside, this.#keeper, command, params);
  }

  /** Returns a handle of a process that is there, as {@link Sandbox.process} does. */
  process(processId: string, params: Omit<SandboxProcessParams, "mode"> = {}): ContainerProcess {
    return findProcess(this.#inside, processId, params);
  }

  /** Waits until it has ended, and returns its exit code. */
  async wait(): Promise<number> {
    for (;;) {
      const code = await this.#look(WAIT_MS);
      if (code !== null) {
        return code;
      }
    }
  }

  /** Returns its exit code, or null while it runs. */
  async poll(): Promise<number | null> {
    return await this.#look(0);
  }

  /** Ends it; with `wait` returns its exit code when it has ended. */
  async terminate(params: { wait: true }): Promise<number>;
  async terminate(params?: { wait?: boolean }): Promise<undefined>;
  async terminate(params: { wait?: boolean } = {}): Promise<number | undefined> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, name: this.name, wait: params.wait ?? false };
    const { sidecar } = await core.call(() => core.rpc(SidecarRpcs).terminateSidecar(request));
    this.#info = sidecar ?? this.#info;
    return params.wait ? await this.wait() : undefined;
  }

  /**
   * Has it see what was committed to its volumes; what it has written is committed before. Throws {@link ConflictError} where files of a
   * volume are open, in it or in another container that sees the same mount, and says which; {@link TimeoutError} after timeoutMs (55000).
   */
  async reloadVolumes(params: { timeoutMs?: number } = {}): Promise<void> {
    await reloadVolumes(this.#reach, params.timeoutMs ?? 55_000, this.name);
  }

  async #look(ms: number): Promise<number | null> {
    if (this.#info.end === undefined) {
      const { core, sandboxId } = this.#reach;
      const request = { sandboxId, name: this.name, limit: toDuration(ms) };
      const { sidecar } = await core.call(() => core.rpc(SidecarRpcs).waitSidecar(request));
      this.#info = sidecar ?? this.#info;
    }
    return this.#info.end?.returnCode ?? null;
  }
}

/** Sidecars of a sandbox. Get it as {@link Sandbox.experimentalSidecars}. */
export class SidecarService {
  readonly #reach: Reach;
  readonly #appId: string;

  /** @internal */
  constructor(reach: Reach, appId: string) {
    this.#reach = reach;
    this.#appId = appId;
  }

  /** Makes one. Throws {@link AlreadyExistsError} for a name that is taken. */
  async create(name: string, image: Image, params: SidecarCreateParams = {}): Promise<SidecarContainer> {
    if (checkName("sidecar", name) === "main") {
      throw new InvalidError("sidecar name 'main': that is the sandbox itself; choose another");
    }
    checkMountPaths(params.volumes ?? {});
    const { core, sandboxId } = this.#reach;
    const definition = create(SandboxDefinitionSchema, {
      argv: checkArgv("sidecars.create", params.command ?? []),
      env: checkVariables("sidecars.create: env", params.env ?? {}),
      workdir: checkWorkdir(params.workdir),
      volumeMounts: volumeMounts(params.volumes ?? {}),
      pty: params.pty ?? false,
    });
    await loadDefinition(core, this.#appId, image, definition, params);
    const request = { sandboxId, sidecarId: newId("sc-"), name, definition };
    const { sidecar } = await core.call(() => core.rpc(SidecarRpcs).createSidecar(request));
    if (sidecar === undefined) {
      throw new ServiceError(`sidecar ${quote(name)}: the server made none`);
    }
    return new SidecarContainer(this.#reach, this.#appId, sidecar);
  }

  /** Returns the sidecar of a name. Throws {@link NotFoundError}. */
  async get(name: string, params: { includeTerminated?: boolean } = {}): Promise<SidecarContainer> {
    const found = (await this.list(params)).find((sidecar) => sidecar.name === name);
    if (found === undefined) {
      throw new NotFoundError(`sandbox ${this.#reach.sandboxId} has no sidecar ${quote(name)}`);
    }
    return found;
  }

  /** Lists them, oldest first; those that have ended only where asked for. */
  async list(params: { includeTerminated?: boolean } = {}): Promise<SidecarContainer[]> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, includeEnded: params.includeTerminated ?? false };
    const { sidecars } = await core.call(() => core.rpc(SidecarRpcs).listSidecars(request));
    return sidecars.map((info) => new SidecarContainer(this.#reach, this.#appId, info));
  }
}
