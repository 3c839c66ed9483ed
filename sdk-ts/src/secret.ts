import type { Core } from "./core.js";
import { InvalidError } from "./errors.js";
import { SecretService as SecretRpcs } from "./gen/skerry/v1/secret_pb.js";
import { checkVariables } from "./names.js";

/**
 * Values that become environment variables of containers. They are sealed at rest and never shown.
 *
 * Make one with {@link SecretService.fromObject}. It is created on the server when it is first used, once for each app that uses it, and
 * deleted with that app.
 */
export class Secret {
  readonly #variables: Readonly<Record<string, string>>;
  /** Ids by app, each made once: other secrets would be other containers. */
  readonly #ids = new Map<string, Promise<string>>();

  /** @internal */
  constructor(variables: Readonly<Record<string, string>>) {
    this.#variables = variables;
  }

  /** The names of its variables. */
  get keys(): string[] {
    return Object.keys(this.#variables).sort();
  }

  /** @internal Returns the secret's id in an app, made if need be. */
  async idIn(core: Core, appId: string): Promise<string> {
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
  /**
   * Returns a secret with the given variables; those that are null or undefined are left out.
   *
   * Nothing is asked of the server until it is used. Throws {@link InvalidError} for names that can't be environment variables.
   */
  fromObject(variables: Readonly<Record<string, string | null | undefined>>): Secret {
    return new Secret(checkVariables("secrets.fromObject", variables));
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
