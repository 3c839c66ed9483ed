import type { Core } from "./core.js";
import { AppService as AppRpcs } from "./gen/skerry/v1/app_pb.js";
import { checkEnvironment, checkName } from "./names.js";

/** Parameters of {@link AppService.fromName}. */
export interface AppFromNameParams {
  /** The environment; default: the client's. */
  environment?: string;
  /** Deploy an empty app where there is none. */
  createIfMissing?: boolean;
}

/** An app: what functions, images and sandboxes belong to. */
export class App {
  /** "ap-...". */
  readonly appId: string;
  /** Its deployment name. */
  readonly name: string;
  /** The environment that it is in; "" is the server's default one. */
  readonly environmentName: string;

  /** @internal */
  constructor(appId: string, name: string, environmentName: string) {
    this.appId = appId;
    this.name = name;
    this.environmentName = environmentName;
  }
}

/** Apps. Get it as {@link SkerryClient.apps}. */
export class AppService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Returns the deployed app of a name.
   *
   * Throws {@link NotFoundError}, unless `createIfMissing` is given, and {@link InvalidError} for what can't be a name.
   */
  async fromName(name: string, params: AppFromNameParams = {}): Promise<App> {
    checkName("app", name);
    const environment = params.environment ? checkEnvironment(params.environment) : this.#core.config.environment;
    const createIfMissing = params.createIfMissing ?? false;
    const rpcs = this.#core.rpc(AppRpcs);
    const { appId } = await this.#core.call(() => rpcs.lookupApp({ name, environment, createIfMissing }));
    return new App(appId, name, environment);
  }
}
