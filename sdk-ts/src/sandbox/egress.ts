import { create } from "@bufbuild/protobuf";
import type { Core } from "../core.js";
import { InvalidError } from "../errors.js";
import {
  type EgressSecret as EgressSecretMessage,
  EgressSecretSchema,
} from "../gen/skerry/v1/sandbox_definition_pb.js";
import { checkVariables, quote } from "../names.js";
import { Secret } from "../secret.js";
import { checkDomain } from "./network.js";

/** Parameters of {@link EgressSecret}. */
export interface EgressSecretParams {
  /** The value; or give `secret`. */
  value?: string;
  /** A secret that has the variable. */
  secret?: Secret;
  /** The only hosts that get the value, such as "api.example.com" or "*.example.com". */
  hosts: readonly string[];
  /** The header to set, instead of replacing the placeholder. */
  header?: string;
  /** What the header gets, with "\{\}" for the value, such as "Bearer \{\}". */
  format?: string;
}

/**
 * A value that stays outside of a sandbox: the worker puts it into requests over HTTPS on their way out, to hosts named here alone.
 *
 * With `header` that header is set on every request to the hosts. Without, the sandbox has an environment variable with a placeholder,
 * and the value takes its place wherever a request's headers have it.
 */
export class EgressSecret {
  readonly #variable: string;
  readonly #secret: Secret;
  readonly #params: EgressSecretParams;

  /** Throws {@link InvalidError}. */
  constructor(variable: string, params: EgressSecretParams) {
    const noun = `EgressSecret(${quote(variable)})`;
    const { value, secret, hosts, header, format } = params;
    checkVariables("EgressSecret", { [variable]: value ?? "" });
    if ((value === undefined) === (secret === undefined)) {
      throw new InvalidError(`${noun}: want its value or a secret that has it, one of both`);
    }
    if (secret !== undefined && !secret.keys.includes(variable)) {
      throw new InvalidError(`${noun}: the secret has no such variable`);
    }
    if (hosts.length === 0 || hosts.includes("*")) {
      throw new InvalidError(`${noun}: name the hosts that get the value, such as 'api.example.com'`);
    }
    if (header !== undefined && !/^[\w-]+$/.test(header)) {
      throw new InvalidError(`${noun}: ${quote(header)} is no name of a header`);
    }
    if (format !== undefined && (header === undefined || !format.includes("{}"))) {
      throw new InvalidError(`${noun}: format is for a header, and has '{}' for the value`);
    }
    this.#variable = variable;
    this.#secret = secret ?? new Secret({ [variable]: value ?? "" });
    this.#params = { ...params, hosts: hosts.map((host) => checkDomain("EgressSecret hosts", host)) };
  }

  /** @internal Returns the message, with the secret kept in an app. */
  async resolve(core: Core, appId: string): Promise<EgressSecretMessage> {
    const { hosts, header = "", format = "" } = this.#params;
    const secretId = await this.#secret.idIn(core, appId);
    return create(EgressSecretSchema, { secretId, variable: this.#variable, hosts: [...hosts], header, format });
  }
}
