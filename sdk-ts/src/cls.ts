import { create } from "@bufbuild/protobuf";
import { encodeValue } from "./cbor.js";
import type { Core } from "./core.js";
import { InvalidError, NotFoundError } from "./errors.js";
import { Function_, type FunctionFromNameParams, findFunction, type Source } from "./function.js";
import {
  type BatchingParams,
  type Changes,
  type ConcurrencyParams,
  type FunctionOptions,
  merge,
} from "./function_options.js";
import {
  type ClassSpec,
  type Parameter,
  ParameterSchema,
  type ParameterSpec,
  ParameterType,
} from "./gen/skerry/v1/function_pb.js";
import { quote } from "./names.js";

/** The value of a class's parameter. */
export type ParameterValue = string | number | bigint | boolean | Uint8Array;

/** A class of a deployed app, whose instances live in containers. */
export class Cls {
  readonly #source: Source;
  readonly #spec: ClassSpec;
  readonly #changes: Changes;

  /** @internal */
  constructor(source: Source, spec: ClassSpec, changes: Changes = {}) {
    this.#source = source;
    this.#spec = spec;
    this.#changes = changes;
  }

  /**
   * Returns an instance, whose methods are called as functions are. Each combination of parameters has containers of its own.
   *
   * @param params - values of the class's parameters, or keyword arguments of its constructor.
   *
   * Throws {@link InvalidError} for a parameter that is missing, unknown or of another type.
   */
  async instance(params: Readonly<Record<string, unknown>> = {}): Promise<ClsInstance> {
    const source = { ...this.#source };
    if (this.#spec.customConstructor) {
      if (Object.keys(params).length > 0) {
        source.constructorArguments = encodeValue([[], params], `the constructor's arguments of ${source.name}`);
      }
    } else {
      source.parameters = checkParameters(source.name, this.#spec.parameters, params);
    }
    return new ClsInstance(source, this.#spec, this.#changes);
  }

  /** Returns the class with other options, and containers of its own. Can be repeated: what is given later wins. */
  withOptions(options: FunctionOptions): Cls {
    return new Cls(this.#source, this.#spec, merge(this.#changes, options));
  }

  /** Returns the class with another number of inputs at a time, and containers of its own. */
  withConcurrency(params: ConcurrencyParams): Cls {
    return new Cls(this.#source, this.#spec, merge(this.#changes, { concurrency: params }));
  }

  /** Returns the class with batches of another size, and containers of its own. */
  withBatching(params: BatchingParams): Cls {
    return new Cls(this.#source, this.#spec, merge(this.#changes, { batching: params }));
  }
}

/** An instance of a class, with its parameters. */
export class ClsInstance {
  readonly #source: Source;
  readonly #spec: ClassSpec;
  readonly #changes: Changes;
  readonly #methods = new Map<string, Function_>();

  /** @internal */
  constructor(source: Source, spec: ClassSpec, changes: Changes) {
    this.#source = source;
    this.#spec = spec;
    this.#changes = changes;
  }

  /** Returns a method. Throws {@link NotFoundError} for one that the class does not have. */
  method(name: string): Function_ {
    let found = this.#methods.get(name);
    if (found === undefined) {
      const method = this.#spec.methods.find((known) => known.name === name);
      if (method === undefined) {
        const known = this.#spec.methods.map((each) => each.name).join(", ");
        throw new NotFoundError(`class ${this.#source.name} has no remote method ${quote(name)}; there is: ${known}`);
      }
      found = new Function_({ ...this.#source, method: name, isGenerator: method.isGenerator }, this.#changes);
      this.#methods.set(name, found);
    }
    return found;
  }
}

/** Classes of deployed apps. Get it as {@link SkerryClient.cls}. */
export class ClsService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Returns a class of a deployed app.
   *
   * @param appName - the app's name.
   * @param name - the class's.
   *
   * Throws {@link NotFoundError}, which names what is missing, and {@link InvalidError} for a function.
   */
  async fromName(appName: string, name: string, params: FunctionFromNameParams = {}): Promise<Cls> {
    const { functionId, appId, definition } = await findFunction(this.#core, "class", appName, name, params);
    if (definition?.classSpec === undefined) {
      throw new InvalidError(`${name} is a function: get it with client.functions.fromName()`);
    }
    const source = { core: this.#core, name, functionId, appId, isGenerator: false, method: "" };
    return new Cls(source, definition.classSpec);
  }
}

function checkParameters(
  name: string,
  specs: readonly ParameterSpec[],
  params: Readonly<Record<string, unknown>>,
): Parameter[] {
  for (const given of Object.keys(params)) {
    if (!specs.some((spec) => spec.name === given)) {
      const known = specs.map((spec) => spec.name).join(", ") || "none";
      throw new InvalidError(`class ${name} has no parameter ${quote(given)}; there is: ${known}`);
    }
  }
  const values: Parameter[] = [];
  for (const spec of specs) {
    const value = params[spec.name];
    if (value !== undefined) {
      values.push(create(ParameterSchema, { name: spec.name, value: parameterValue(name, spec, value) }));
    } else if (spec.defaultValue === undefined) {
      throw new InvalidError(`class ${name} needs the parameter ${quote(spec.name)}`);
    }
  }
  return values;
}

function parameterValue(name: string, spec: ParameterSpec, value: unknown): Parameter["value"] {
  switch (spec.type) {
    case ParameterType.STRING:
      if (typeof value === "string") {
        return { case: "stringValue", value };
      }
      break;
    case ParameterType.BOOL:
      if (typeof value === "boolean") {
        return { case: "boolValue", value };
      }
      break;
    case ParameterType.BYTES:
      if (value instanceof Uint8Array) {
        return { case: "bytesValue", value };
      }
      break;
    case ParameterType.INT:
      if ((typeof value === "number" && Number.isSafeInteger(value)) || typeof value === "bigint") {
        return { case: "intValue", value: BigInt.asIntN(64, BigInt(value)) };
      }
      break;
    default:
      break;
  }
  throw new InvalidError(
    `class ${name}: parameter ${quote(spec.name)} is ${typeof value}; want ${ParameterType[spec.type].toLowerCase()}`,
  );
}
