import { create } from "@bufbuild/protobuf";
import { generate } from "./call/generating.js";
import { remote, spawn, type Target } from "./call/single.js";
import type { Core } from "./core.js";
import { checkMs, fromDuration, toDuration } from "./duration.js";
import { InternalError, InvalidError } from "./errors.js";
import { FunctionCall } from "./function_call.js";
import {
  type BatchingParams,
  type Changes,
  type ConcurrencyParams,
  type FunctionOptions,
  merge,
  resolve,
} from "./function_options.js";
import {
  FunctionService as FunctionRpcs,
  type GetFunctionResponse,
  type Parameter,
  UpdateAutoscalerRequestSchema,
} from "./gen/skerry/v1/function_pb.js";
import { checkEnvironment, checkName } from "./names.js";

/** Parameters of {@link FunctionService.fromName} and {@link ClsService.fromName}. */
export interface FunctionFromNameParams {
  /** The environment; default: the client's. */
  environment?: string;
  /** Which deployment of the app; default: always the newest. */
  version?: number;
}

/** A function's work at a moment. */
export interface FunctionStats {
  /** Inputs that wait for a container. */
  backlog: number;
  /** Containers that start or run. */
  numTotalRunners: number;
  /** Inputs that run. */
  numRunningInputs: number;
}

/** Bounds of the number of containers; those that are left out stay as they are. */
export interface UpdateAutoscalerParams {
  /** Containers kept even when idle. */
  minContainers?: number;
  /** Most containers; 0: the workers' capacity decides. */
  maxContainers?: number;
  /** Idle containers kept ready while there is work. */
  bufferContainers?: number;
  /** How long an idle container is kept; whole seconds. */
  scaledownWindowMs?: number;
}

/** The bounds in force. */
export type FunctionAutoscalerSettings = Required<UpdateAutoscalerParams>;

/** Options of {@link Function_.remote}. */
export interface RemoteOptions {
  /** Cancels the input when it is aborted. */
  signal?: AbortSignal;
}

/** What a handle calls: found once, and bound to its parameters and options at the first use. */
export interface Source {
  core: Core;
  /** The function's or class's name, for messages. */
  name: string;
  /** The unbound function, "fu-...". */
  functionId: string;
  appId: string;
  /** True if it yields items. */
  isGenerator: boolean;
  /** The method, where it is a class; else "". */
  method: string;
  /** Values of a class's parameters. */
  parameters?: Parameter[];
  /** Arguments of a class's own constructor. */
  constructorArguments?: Uint8Array;
}

/**
 * A function of a deployed app, or a method of a class.
 *
 * Arguments and results are plain values; `docs/cbor.md` has the table of types.
 */
export class Function_ {
  readonly #source: Source;
  readonly #changes: Changes;
  #bound: Promise<string> | undefined;
  #boundId: string | undefined;

  /** @internal */
  constructor(source: Source, changes: Changes = {}) {
    this.#source = source;
    this.#changes = changes;
    if (!this.#differs()) {
      this.#boundId = source.functionId;
    }
  }

  /** "fu-...": its own once {@link instance} or a call has made it, until then that of its definition. */
  get functionId(): string {
    return this.#boundId ?? this.#source.functionId;
  }

  /** The method, where it is one of a class. */
  get methodName(): string | undefined {
    return this.#source.method || undefined;
  }

  /**
   * Runs the function once and returns its value.
   *
   * @param args - positional arguments.
   * @param kwargs - keyword arguments.
   *
   * Throws a {@link RemoteError} for what the function raised, {@link FunctionTimeoutError}, {@link InternalFailure},
   * {@link SerializationError} for arguments that can't be sent.
   */
  async remote<R = unknown>(
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
    options: RemoteOptions = {},
  ): Promise<R> {
    if (this.#source.isGenerator) {
      throw new InvalidError(`${this.#source.name} is a generator: read its items with remoteGen()`);
    }
    return (await remote(this.#source.core, await this.#target(), [args, kwargs], options.signal)) as R;
  }

  /**
   * Runs a generator once and yields its items as they come. Who stops reading cancels it.
   *
   * Arguments and errors are those of {@link remote}.
   */
  async *remoteGen<T = unknown>(
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
  ): AsyncGenerator<T, void, undefined> {
    if (!this.#source.isGenerator) {
      throw new InvalidError(`${this.#source.name} is no generator: call it with remote()`);
    }
    yield* generate(this.#source.core, await this.#target(), [args, kwargs]) as AsyncGenerator<T, void, undefined>;
  }

  /**
   * Has the server keep an input, and returns at once. From then on nothing loses it: the call goes on without this program.
   *
   * Arguments are those of {@link remote}.
   */
  async spawn<R = unknown>(
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
  ): Promise<FunctionCall<R>> {
    if (this.#source.isGenerator) {
      throw new InvalidError(`${this.#source.name} is a generator, which can't be spawned: use remoteGen()`);
    }
    const { core } = this.#source;
    return new FunctionCall<R>(core, await spawn(core, await this.#target(), [args, kwargs]));
  }

  /** Counts the function's work at this moment. */
  async getCurrentStats(): Promise<FunctionStats> {
    const { core } = this.#source;
    const functionId = await this.#ready();
    const stats = await core.call(() => core.rpc(FunctionRpcs).getFunctionStats({ functionId }));
    return {
      backlog: stats.backlog,
      numTotalRunners: stats.numContainers,
      numRunningInputs: stats.numRunningInputs,
    };
  }

  /** Overrides bounds of the number of containers until the app is deployed the next time. Returns all of them. */
  async updateAutoscaler(params: UpdateAutoscalerParams): Promise<FunctionAutoscalerSettings> {
    const { scaledownWindowMs, ...counts } = params;
    for (const [noun, value] of Object.entries(counts)) {
      if (value !== undefined && (!Number.isInteger(value) || value < 0)) {
        throw new InvalidError(`${noun} ${value}: want 0 or more containers`);
      }
    }
    const request = create(UpdateAutoscalerRequestSchema, { ...counts, functionId: await this.#ready() });
    if (scaledownWindowMs !== undefined) {
      const bounds = { min: 1000, wholeSeconds: true };
      request.scaledownWindow = toDuration(checkMs("scaledownWindowMs", scaledownWindowMs, bounds));
    }
    const { core } = this.#source;
    const { autoscaler } = await core.call(() => core.rpc(FunctionRpcs).updateAutoscaler(request));
    if (autoscaler === undefined) {
      throw new InternalError(`function ${this.#source.name}: the server said no bounds`);
    }
    const { minContainers, maxContainers, bufferContainers, scaledownWindow } = autoscaler;
    return { minContainers, maxContainers, bufferContainers, scaledownWindowMs: fromDuration(scaledownWindow) };
  }

  /** Returns it with other options, and containers of its own. Can be repeated: what is given later wins. */
  withOptions(options: FunctionOptions): Function_ {
    return new Function_(this.#source, merge(this.#changes, options));
  }

  /** Returns it with another number of inputs at a time, and containers of its own. */
  withConcurrency(params: ConcurrencyParams): Function_ {
    return new Function_(this.#source, merge(this.#changes, { concurrency: params }));
  }

  /** Returns it with batches of another size, and containers of its own. */
  withBatching(params: BatchingParams): Function_ {
    return new Function_(this.#source, merge(this.#changes, { batching: params }));
  }

  /** Has the server make what {@link withOptions} and its like asked for, and returns it. A call does so by itself. */
  async instance(): Promise<Function_> {
    await this.#ready();
    return this;
  }

  async #target(): Promise<Target> {
    const { name, method } = this.#source;
    return { functionId: await this.#ready(), name: method ? `${name}.${method}` : name, method };
  }

  #differs(): boolean {
    const { parameters, constructorArguments } = this.#source;
    const own = (parameters?.length ?? 0) > 0 || constructorArguments !== undefined;
    return own || Object.keys(this.#changes).length > 0;
  }

  async #ready(): Promise<string> {
    this.#source.core.checkOpen();
    if (this.#boundId !== undefined) {
      return this.#boundId;
    }
    this.#bound ??= this.#bind();
    try {
      this.#boundId = await this.#bound;
      return this.#boundId;
    } finally {
      this.#bound = undefined;
    }
  }

  async #bind(): Promise<string> {
    const { core, functionId, appId, parameters = [], constructorArguments = new Uint8Array() } = this.#source;
    const options = await resolve(core, this.#changes, appId);
    const request = { functionId, parameters, constructorArguments, ...(options && { options }) };
    const bound = await core.call(() => core.rpc(FunctionRpcs).bindFunction(request));
    return bound.functionId;
  }
}

/** Functions of deployed apps. Get it as {@link SkerryClient.functions}. */
export class FunctionService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Returns a function of a deployed app.
   *
   * @param appName - the app's name.
   * @param name - the function's.
   *
   * Throws {@link NotFoundError}, which names what is missing, and {@link InvalidError} for a class, which {@link ClsService} has.
   */
  async fromName(appName: string, name: string, params: FunctionFromNameParams = {}): Promise<Function_> {
    const found = await findFunction(this.#core, "function", appName, name, params);
    if (found.definition?.classSpec !== undefined) {
      throw new InvalidError(`${name} is a class: get it with client.cls.fromName()`);
    }
    return new Function_({
      core: this.#core,
      name,
      functionId: found.functionId,
      appId: found.appId,
      isGenerator: found.definition?.isGenerator ?? false,
      method: "",
    });
  }
}

/** @internal Asks the server for a function or a class. */
export async function findFunction(
  core: Core,
  noun: string,
  appName: string,
  functionName: string,
  params: FunctionFromNameParams,
): Promise<GetFunctionResponse> {
  checkName("app", appName);
  checkName(noun, functionName);
  const { version = 0 } = params;
  if (!Number.isInteger(version) || version < 0) {
    throw new InvalidError(`version ${version}: want the number of a deployment`);
  }
  const environment = params.environment ? checkEnvironment(params.environment) : core.config.environment;
  return await core.call(() => core.rpc(FunctionRpcs).getFunction({ appName, functionName, environment, version }));
}
