import type { Interceptor } from "@connectrpc/connect";
import { AppService } from "./app.js";
import { CloudBucketMountService } from "./bucket.js";
import { ClsService } from "./cls.js";
import { loadConfig, type Settings } from "./config.js";
import { Core } from "./core.js";
import { FunctionService } from "./function.js";
import { FunctionCallService } from "./function_call.js";
import { ImageService } from "./image/service.js";
import { type Logger, makeLogger } from "./logger.js";
import { SandboxService } from "./sandbox/service.js";
import { SandboxSnapshotService } from "./sandbox/snapshots.js";
import { SecretService } from "./secret.js";
import { DictService } from "./storage/dict.js";
import { QueueService } from "./storage/queue.js";
import { VolumeService } from "./storage/volume.js";
import type { Connection } from "./transport.js";
import { VERSION } from "./version.js";

/** Parameters of {@link SkerryClient}; those that are left out come from `SKERRY_*` variables and `~/.skerry.toml`. */
export interface SkerryClientParams extends Settings {
  /** Where the SDK says what it does; default: standard error. */
  logger?: Logger;
  /** Interceptors of all requests, such as for telemetry; the first is the outermost. */
  interceptors?: readonly Interceptor[];
  /** @internal Connections of a test's own. */
  connection?: Connection;
}

/**
 * A connection to a server, with a service for each kind of thing there.
 *
 * It connects when it is first used, and goes on by itself over restarts of the server. An idle client does not keep a program from
 * ending; {@link close} it, or declare it with `await using`, to end what is under way.
 *
 * ```ts
 * const client = new SkerryClient();
 * const square = await client.functions.fromName("my-app", "square");
 * console.log(await square.remote([12]));
 * ```
 */
export class SkerryClient implements AsyncDisposable {
  /** Apps. */
  readonly apps: AppService;
  /** Buckets of S3-compatible stores. */
  readonly cloudBucketMounts: CloudBucketMountService;
  /** Classes of deployed apps. */
  readonly cls: ClsService;
  /** Values under keys. */
  readonly dicts: DictService;
  /** Functions of deployed apps. */
  readonly functions: FunctionService;
  /** Calls that run by themselves. */
  readonly functionCalls: FunctionCallService;
  /** Images. */
  readonly images: ImageService;
  /** Items in order. */
  readonly queues: QueueService;
  /** Sandboxes. */
  readonly sandboxes: SandboxService;
  /** Snapshots of sandboxes with their memory. */
  readonly sandboxSnapshots: SandboxSnapshotService;
  /** Secrets. */
  readonly secrets: SecretService;
  /** Trees of files that containers share. */
  readonly volumes: VolumeService;
  readonly #core: Core;

  /** Throws {@link InvalidError} for settings that make no sense, {@link AuthError} where there is no token. */
  constructor(params: SkerryClientParams = {}) {
    const config = loadConfig(params);
    const core = new Core({
      config,
      logger: makeLogger(config.logLevel, params.logger),
      ...(params.interceptors && { interceptors: params.interceptors }),
      ...(params.connection && { connection: params.connection }),
    });
    this.#core = core;
    this.apps = new AppService(core);
    this.cloudBucketMounts = new CloudBucketMountService();
    this.cls = new ClsService(core);
    this.dicts = new DictService(core);
    this.functions = new FunctionService(core);
    this.functionCalls = new FunctionCallService(core);
    this.images = new ImageService(core);
    this.queues = new QueueService(core);
    this.sandboxes = new SandboxService(core, this.images);
    this.sandboxSnapshots = new SandboxSnapshotService(core);
    this.secrets = new SecretService(core);
    this.volumes = new VolumeService(core);
  }

  /** Returns the environment that is worked in: the one given, or the client's; "" is the server's default one. */
  environmentName(environment?: string): string {
    return environment ?? this.#core.config.environment;
  }

  /** The version of this package. */
  version(): string {
    return VERSION;
  }

  /** Ends the connection. What is waited for fails with {@link ClientClosedError}; spawned calls and sandboxes go on. */
  close(): void {
    this.#core.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
