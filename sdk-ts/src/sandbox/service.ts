import { create } from "@bufbuild/protobuf";
import type { App } from "../app.js";
import type { Core } from "../core.js";
import { checkMs, toDuration } from "../duration.js";
import { InvalidError, ServiceError } from "../errors.js";
import type { SandboxInfo as InfoMessage } from "../gen/skerry/v1/sandbox_info_pb.js";
import { ListSandboxesRequestSchema, SandboxService as SandboxRpcs } from "../gen/skerry/v1/sandbox_pb.js";
import { SandboxWatchService } from "../gen/skerry/v1/sandbox_watch_pb.js";
import { SnapshotService as SnapshotRpcs } from "../gen/skerry/v1/snapshot_pb.js";
import type { Image } from "../image/image.js";
import type { ImageService } from "../image/service.js";
import { checkEnvironment, checkName, newId } from "../names.js";
import { checkDefinition, checkSandboxTags, loadDefinition, type SandboxCreateParams } from "./definition.js";
import { type SandboxEvent, type SandboxInfo, sandboxEvent, sandboxInfo } from "./info.js";
import { checkSandboxId } from "./reach.js";
import { Sandbox } from "./sandbox.js";
import type { SandboxSnapshot } from "./snapshots.js";

/** Which sandboxes are meant; those conditions that are given have all to hold. */
export interface SandboxFilter {
  /** Only those of this app, "ap-...". */
  appId?: string;
  /** Only those that have all of these. */
  tags?: Readonly<Record<string, string>>;
  /** Only those of this owner. */
  owner?: string;
}

/** Parameters of {@link SandboxService.list}. */
export interface SandboxListParams extends SandboxFilter {
  /** The environment; default: the client's. */
  environment?: string;
  /** Also those that have ended within the last 7 days. */
  includeEnded?: boolean;
}

/** Parameters of {@link SandboxService.prune}. */
export interface SandboxPruneParams extends SandboxFilter {
  /** Only those created so long ago, or longer. */
  olderThanMs?: number;
  /** Only those that nobody has used for so long. */
  idleForMs?: number;
  /** Without appId, tags and owner: else one of these is needed. */
  all?: boolean;
  /** Only say which. */
  dryRun?: boolean;
  /** The environment; default: the client's. */
  environment?: string;
}

/** Parameters of {@link SandboxService.fromName}. */
export interface SandboxFromNameParams {
  /** The environment of the app; default: the client's. */
  environment?: string;
}

/** Sandboxes. Get it as {@link SkerryClient.sandboxes}. */
export class SandboxService {
  readonly #core: Core;
  readonly #images: ImageService;

  /** @internal */
  constructor(core: Core, images: ImageService) {
    this.#core = core;
    this.#images = images;
  }

  /**
   * Makes a sandbox. It returns once a worker has taken it; the sandbox starts on, and what is done with it waits for that.
   *
   * @param app - what it belongs to: `client.apps.fromName("my-app", { createIfMissing: true })`.
   * @param image - built first if it is not.
   *
   * Throws {@link AlreadyExistsError} for a name that a running sandbox of the app has, {@link ResourceExhaustedError} where no worker has
   * room, {@link ImageBuildError}, {@link InvalidError}.
   */
  async create(app: App, image: Image, params: SandboxCreateParams = {}): Promise<Sandbox> {
    const definition = checkDefinition(params);
    await loadDefinition(this.#core, app.appId, image, definition, params);
    const request = { sandboxId: newId("sb-"), appId: app.appId, definition };
    return this.#made(await this.#core.call(() => this.#core.rpc(SandboxRpcs).createSandbox(request)));
  }

  /** Returns a sandbox by its id, also one that has ended within the last 7 days. Throws {@link NotFoundError}. */
  async fromId(sandboxId: string): Promise<Sandbox> {
    const request = { sandboxId: checkSandboxId(sandboxId) };
    return this.#made(await this.#core.call(() => this.#core.rpc(SandboxRpcs).getSandbox(request)));
  }

  /** Returns the running sandbox of a name in a deployed app. Throws {@link NotFoundError}. */
  async fromName(appName: string, name: string, params: SandboxFromNameParams = {}): Promise<Sandbox> {
    const request = {
      appName: checkName("app", appName),
      name: checkName("sandbox", name),
      environment: this.#environment(params.environment),
    };
    return this.#made(await this.#core.call(() => this.#core.rpc(SandboxRpcs).getSandbox(request)));
  }

  /**
   * Makes a sandbox from a snapshot: it goes on from there.
   *
   * @param name - its name; null: none. Default: that of the sandbox that the snapshot was made of.
   */
  async experimentalFromSnapshot(snapshot: SandboxSnapshot, params: { name?: string | null } = {}): Promise<Sandbox> {
    const inheritName = params.name === undefined;
    const name = params.name ? checkName("sandbox", params.name) : "";
    const request = { snapshotId: snapshot.snapshotId, sandboxId: newId("sb-"), name, inheritName };
    return this.#made(await this.#core.call(() => this.#core.rpc(SnapshotRpcs).restoreSandbox(request)));
  }

  /** Yields running sandboxes, newest first. */
  async *list(params: SandboxListParams = {}): AsyncGenerator<Sandbox, void, undefined> {
    const request = create(ListSandboxesRequestSchema, {
      ...filterOf(params),
      environment: this.#environment(params.environment),
      includeEnded: params.includeEnded ?? false,
    });
    for (;;) {
      const { sandboxes, more } = await this.#core.call(() => this.#core.rpc(SandboxRpcs).listSandboxes(request));
      for (const info of sandboxes) {
        yield new Sandbox(this.#core, this.#images, info);
      }
      const last = sandboxes.at(-1)?.createdAt;
      if (!more || last === undefined) {
        return;
      }
      request.createdBefore = last;
    }
  }

  /** Ends sandboxes that nobody needs any more, and returns which those were. */
  async prune(params: SandboxPruneParams): Promise<SandboxInfo[]> {
    const { olderThanMs, idleForMs, all = false, dryRun = false } = params;
    const filter = filterOf(params);
    if (!all && !filter.owner && !filter.appId && Object.keys(filter.tags).length === 0) {
      throw new InvalidError("prune needs owner, tags or appId; all: true is for all sandboxes");
    }
    const request = {
      ...filter,
      environment: this.#environment(params.environment),
      all,
      dryRun,
      ...(olderThanMs !== undefined && { olderThan: toDuration(checkMs("olderThanMs", olderThanMs)) }),
      ...(idleForMs !== undefined && { idleFor: toDuration(checkMs("idleForMs", idleForMs)) }),
    };
    const { sandboxes } = await this.#core.call(() => this.#core.rpc(SandboxRpcs).pruneSandboxes(request));
    return sandboxes.map(sandboxInfo);
  }

  /**
   * Resolves once events are seen, and yields from then on what happens to sandboxes. Stop reading to end it.
   *
   * A connection that is lost is an error: what happened meanwhile is not known.
   */
  async events(params: SandboxFilter = {}): Promise<AsyncGenerator<SandboxEvent, void, undefined>> {
    const watch = this.#core.rpc(SandboxWatchService);
    const frames = this.#core.stream((signal) => watch.streamSandboxEvents(filterOf(params), { signal }));
    await frames.next(); // the frame that says that events are seen
    return (async function* () {
      for await (const frame of frames) {
        const event = sandboxEvent(frame);
        if (event !== undefined) {
          yield event;
        }
      }
    })();
  }

  #environment(environment: string | undefined): string {
    return environment ? checkEnvironment(environment) : this.#core.config.environment;
  }

  #made({ sandbox }: { sandbox?: InfoMessage | undefined }): Sandbox {
    if (sandbox === undefined) {
      throw new ServiceError("the server did not describe the sandbox");
    }
    return new Sandbox(this.#core, this.#images, sandbox);
  }
}

function filterOf(params: SandboxFilter) {
  return { appId: params.appId ?? "", tags: checkSandboxTags(params.tags ?? {}), owner: params.owner ?? "" };
}
