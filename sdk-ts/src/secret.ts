import type { Core } from "./core.js";
import { InternalError, InvalidError, NotFoundError } from "./errors.js";
import { ObjectCreation } from "./gen/skerry/v1/object_pb.js";
import { SecretService as SecretRpcs } from "./gen/skerry/v1/secret_pb.js";
import { checkEnvironment, checkName, checkVariables } from "./names.js";
import type { ObjectDeleteParams } from "./storage/named.js";

/** Parameters of {@link SecretService.fromName}. */
export interface SecretFromNameParams {
  /** The environment; default: the client's. */
  environment?: string;
  /** Names of variables that it must have. */
  requiredKeys?: readonly string[];
}

/**
 * Values that become environment variables of containers. They are sealed at rest and never shown.
 *
 * {@link SecretService.fromName} finds one that is kept under a name. One of {@link SecretService.fromObject} is created on the server when it
 * is first used, once for each app that uses it, and deleted with that app.
 */
export class Secret {
  /** Its name; undefined: it is an app's own. */
  readonly name: string | undefined;
  /** Its id, "st-..."; undefined: each app that uses it has one of its own. */
  readonly secretId: string | undefined;
  readonly #variables: Readonly<Record<string, string>>;
  /** Ids by app, each made once: other secrets would be other containers. */
  readonly #ids = new Map<string, Promise<string>>();

  /** @internal */
  constructor(variables: Readonly<Record<string, string>>, kept?: { id: string; name: string }) {
    this.#variables = variables;
    this.name = kept?.name;
    this.secretId = kept?.id;
  }

  /** The names of its variables; empty for one with a name, of which nothing is told. */
  get keys(): string[] {
    return Object.keys(this.#variables).sort();
  }

  /** @internal Returns the secret's id in an app, made if need be. */
  async idIn(core: Core, appId: string): Promise<string> {
    if (this.secretId !== undefined) {
      return this.secretId;
    }
    let id = this.#ids.get(appId);
    if (id === undefined) {
      id = this.#create(core, appId);
      this.#ids.set(appId, id);
      id.catch(() => this.#ids.delete(appId));
    }
    return await id;
  }

  async #create(core: Core, appId: string): Promise<string> {
    if (!appId) {
      throw new InvalidError("secrets belong to an app: give the app that uses them");
    }
    const rpcs = core.rpc(SecretRpcs);
    const { secretId } = await core.call(() => rpcs.createSecret({ appId, variables: this.#variables }));
    return secretId;
  }
}

/** Secrets. Get it as {@link SkerryClient.secrets}. */
export class SecretService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Returns the secret of a name. Throws {@link NotFoundError} where there is none, or it lacks a required key. */
  async fromName(name: string, params: SecretFromNameParams = {}): Promise<Secret> {
    const { environment, requiredKeys = [] } = params;
    const request = {
      name: checkName("secret", name),
      environment: environment ? checkEnvironment(environment) : this.#core.config.environment,
      creation: ObjectCreation.UNSPECIFIED,
      requiredKeys: [...requiredKeys],
    };
    const { info } = await this.#core.call(() => this.#core.rpc(SecretRpcs).getSecret(request));
    if (info === undefined) {
      throw new InternalError("secret: the server says nothing of it");
    }
    return new Secret({}, { id: info.id, name: info.name });
  }

  /**
   * Returns a secret with the given variables; those that are null or undefined are left out.
   *
   * Nothing is asked of the server until it is used. Throws {@link InvalidError} for names that can't be environment variables.
   */
  fromObject(variables: Readonly<Record<string, string | null | undefined>>): Secret {
    return new Secret(checkVariables("secrets.fromObject", variables));
  }

  /** Deletes a secret, for good: containers that need it do not start any more. Throws {@link NotFoundError}, unless `allowMissing` is given. */
  async delete(name: string, params: ObjectDeleteParams = {}): Promise<void> {
    const { environment, allowMissing = false } = params;
    try {
      const { secretId = "" } = await this.fromName(name, environment === undefined ? {} : { environment });
      await this.#core.call(() => this.#core.rpc(SecretRpcs).deleteSecret({ secretId }));
    } catch (error) {
      if (!(error instanceof NotFoundError && allowMissing)) {
        throw error;
      }
    }
  }
}

/** @internal Returns the ids of secrets in an app, with plain variables as the last of them. */
export async function secretIds(
  core: Core,
  appId: string,
  secrets: readonly Secret[],
  env?: Readonly<Record<string, string | null | undefined>>,
): Promise<string[]> {
  const all = [...secrets];
  if (env !== undefined && Object.keys(env).length > 0) {
    all.push(new Secret(checkVariables("env", env)));
  }
  return await Promise.all(all.map((secret) => secret.idIn(core, appId)));
}
