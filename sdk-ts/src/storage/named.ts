/** What objects with a name have in common. */

import type { Core } from "../core.js";
import { InternalError, InvalidError, NotFoundError } from "../errors.js";
import { ObjectCreation, type ObjectInfo } from "../gen/skerry/v1/object_pb.js";
import { checkEnvironment, checkName, isId, newId } from "../names.js";

/** Where an object is looked for, and what becomes of a name that nothing has. */
export interface ObjectFromNameParams {
  /** The environment; default: the client's. */
  environment?: string;
  /** Make it where there is none. */
  createIfMissing?: boolean;
}

/** Where an object without a name is made. */
export interface ObjectEphemeralParams {
  /** The environment; default: the client's. */
  environment?: string;
}

/** Which object is deleted. */
export interface ObjectDeleteParams {
  /** The environment; default: the client's. */
  environment?: string;
  /** Do nothing where there is none. */
  allowMissing?: boolean;
}

/** The requests that all kinds of objects have. */
export interface NamedRpcs {
  noun: string;
  prefix: string;
  get(name: string, environment: string, creation: ObjectCreation): Promise<{ info?: ObjectInfo | undefined }>;
  describe(id: string): Promise<{ info?: ObjectInfo | undefined }>;
  remove(id: string): Promise<unknown>;
}

/** The requests of those that may be ephemeral. */
export interface EphemeralRpcs extends NamedRpcs {
  keep(id: string): Promise<unknown>;
}

const HEARTBEAT_MS = 30_000;

/** The life of an ephemeral object: it is kept while its client says that it is there. */
export class Life {
  readonly #core: Core;
  readonly #rpcs: EphemeralRpcs;
  readonly #id: string;
  #timer: NodeJS.Timeout | undefined;

  constructor(core: Core, rpcs: EphemeralRpcs, id: string) {
    this.#core = core;
    this.#rpcs = rpcs;
    this.#id = id;
    // It does not keep a program from ending.
    this.#timer = setInterval(() => this.#beat(), HEARTBEAT_MS).unref();
    core.closing.addEventListener("abort", () => clearInterval(this.#timer));
  }

  #beat(): void {
    this.#core
      .call(() => this.#rpcs.keep(this.#id))
      .catch((error: unknown) => {
        if (error instanceof NotFoundError) {
          clearInterval(this.#timer);
        }
        this.#core.logger.warn(`heartbeat of ${this.#rpcs.noun} ${this.#id}`, "error", error);
      });
  }

  /** Deletes the object. Where that fails the server finds out by itself. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.#core.call(() => this.#rpcs.remove(this.#id));
    } catch (error) {
      if (!(error instanceof NotFoundError)) {
        this.#core.logger.warn(`${this.#rpcs.noun} ${this.#id} could not be deleted`, "error", error);
      }
    }
  }
}

/** Finds, makes and deletes objects of one kind. */
export class Registry<Rpcs extends NamedRpcs = NamedRpcs> {
  readonly core: Core;
  readonly rpcs: Rpcs;

  constructor(core: Core, rpcs: Rpcs) {
    this.core = core;
    this.rpcs = rpcs;
  }

  async fromName(name: string, params: ObjectFromNameParams): Promise<ObjectInfo> {
    checkName(this.rpcs.noun, name);
    const creation = params.createIfMissing ? ObjectCreation.IF_MISSING : ObjectCreation.UNSPECIFIED;
    return this.known(await this.core.call(() => this.rpcs.get(name, this.environmentOf(params), creation)));
  }

  async fromId(id: string): Promise<ObjectInfo> {
    if (!isId(id, `${this.rpcs.prefix}-`)) {
      throw new InvalidError(
        `${this.rpcs.noun}: want an id such as "${this.rpcs.prefix}-...", got ${JSON.stringify(id)}`,
      );
    }
    return this.known(await this.core.call(() => this.rpcs.describe(id)));
  }

  async delete(name: string, params: ObjectDeleteParams): Promise<void> {
    try {
      const { id } = await this.fromName(
        name,
        params.environment === undefined ? {} : { environment: params.environment },
      );
      await this.core.call(() => this.rpcs.remove(id));
    } catch (error) {
      if (!(error instanceof NotFoundError && params.allowMissing)) {
        throw error;
      }
    }
  }

  protected environmentOf(params: { environment?: string }): string {
    return params.environment ? checkEnvironment(params.environment) : this.core.config.environment;
  }

  protected known(answer: { info?: ObjectInfo | undefined }): ObjectInfo {
    if (answer.info === undefined) {
      throw new InternalError(`${this.rpcs.noun}: the server says nothing of it`);
    }
    return answer.info;
  }
}

/** Makes those without a name as well. */
export class EphemeralRegistry extends Registry<EphemeralRpcs> {
  async ephemeral(params: ObjectEphemeralParams): Promise<{ info: ObjectInfo; life: Life }> {
    const environment = this.environmentOf(params);
    const info = this.known(await this.core.call(() => this.rpcs.get("", environment, ObjectCreation.EPHEMERAL)));
    return { info, life: new Life(this.core, this.rpcs, info.id) };
  }
}

/** Returns the id of a request, the same when it is asked again. */
export function newRequestId(): string {
  return newId("rq").slice(-22);
}
