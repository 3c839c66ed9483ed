/** How processes are started and found in a sandbox or a sidecar. */

import { create } from "@bufbuild/protobuf";
import { toDuration } from "../duration.js";
import { InvalidError } from "../errors.js";
import { TerminalSizeSchema } from "../gen/skerry/v1/container_pb.js";
import { ProcessService, StartProcessRequestSchema } from "../gen/skerry/v1/process_pb.js";
import { SandboxService as SandboxRpcs } from "../gen/skerry/v1/sandbox_pb.js";
import { checkVariables, newId } from "../names.js";
import { type Secret, secretIds } from "../secret.js";
import { checkArgv, checkWorkdir } from "./definition.js";
import { type ProcessInfo, processInfo, type SystemProcessInfo, systemProcessInfo } from "./info.js";
import type { Inside } from "./inside.js";
import { Output } from "./output.js";
import { ContainerProcess, type TerminalSize } from "./process.js";
import type { Mode } from "./streams.js";

/** Parameters of {@link Sandbox.exec}. */
export interface SandboxExecParams {
  /** What streams carry: text, in UTF-8, or bytes ("text"). */
  mode?: Mode;
  /** Read standard output, or throw it away ("pipe"). */
  stdout?: "pipe" | "ignore";
  /** Read standard error, or throw it away ("pipe"). */
  stderr?: "pipe" | "ignore";
  /** Absolute; default: the sandbox's. */
  workdir?: string;
  /** Kill it and its group after this; `wait` then returns -1. */
  timeoutMs?: number;
  /** More environment variables; those that are null or undefined are left out. */
  env?: Readonly<Record<string, string | null | undefined>>;
  /** Secrets that become environment variables; later ones win, and `env` wins over them. */
  secrets?: readonly Secret[];
  /** Give it a terminal, of 24 lines with 80 columns unless another size is given; standard error is then in standard output. */
  pty?: boolean | TerminalSize;
  /** Run as this user, a name or number of the sandbox's; default: root. */
  user?: string;
}

/** Parameters of {@link Sandbox.process}. */
export interface SandboxProcessParams {
  /** As in {@link SandboxExecParams}. */
  mode?: Mode;
  /** Where standard output is read from, in bytes; what is no longer kept is passed over (0). */
  stdoutOffset?: number;
  /** Where standard error is read from (0). */
  stderrOffset?: number;
}

/** Puts the values of secrets into a sandbox, each set of them once. */
export class SecretKeeper {
  readonly #inside: Inside;
  readonly #sandboxId: string;
  readonly #appId: string;
  readonly #sealed = new Map<string, string>();

  constructor(inside: Inside, sandboxId: string, appId: string) {
    this.#inside = inside;
    this.#sandboxId = sandboxId;
    this.#appId = appId;
  }

  /** Returns ids of environments that have the secrets' variables. */
  async seal(secrets: readonly Secret[]): Promise<string[]> {
    if (secrets.length === 0) {
      return [];
    }
    const { core } = this.#inside;
    const ids = await secretIds(core, this.#appId, secrets);
    const key = ids.join(" ");
    let environmentId = this.#sealed.get(key);
    if (environmentId === undefined) {
      const request = { sandboxId: this.#sandboxId, secretIds: ids };
      ({ environmentId } = await core.call(() => core.rpc(SandboxRpcs).sealEnvironment(request)));
      this.#sealed.set(key, environmentId);
    }
    return [environmentId];
  }
}

/** Starts a process and returns once it runs. */
export async function startProcess<R extends string | Uint8Array>(
  inside: Inside,
  keeper: SecretKeeper,
  command: readonly string[],
  params: SandboxExecParams,
): Promise<ContainerProcess<R>> {
  inside.check();
  const { timeoutMs, pty = false, user = "" } = params;
  const argv = checkArgv("exec", command);
  if (argv.length === 0) {
    throw new InvalidError("exec needs a program to run");
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) {
    throw new InvalidError(`timeoutMs ${timeoutMs}: want milliseconds, more than 0`);
  }
  const size = typeof pty === "object" ? pty : { rows: 24, columns: 80 };
  const ignored = [params.stdout === "ignore", params.stderr === "ignore"] as const;
  const processId = newId("ex-");
  const start = create(StartProcessRequestSchema, {
    processId,
    argv,
    env: { ...(pty && { TERM: "xterm-256color" }), ...checkVariables("exec: env", params.env ?? {}) },
    workdir: checkWorkdir(params.workdir),
    stdin: true,
    discardStdout: ignored[0],
    discardStderr: ignored[1],
    noOutput: ignored[0] && ignored[1],
    user,
    environmentIds: await keeper.seal(params.secrets ?? []),
    ...(pty && { pty: create(TerminalSizeSchema, { rows: size.rows, cols: size.columns }) }),
    ...(timeoutMs !== undefined && { timeout: toDuration(timeoutMs) }),
  });
  const output = new Output({ inside, processId, start, ignored });
  output.draw();
  await output.started.promise;
  return new ContainerProcess<R>(inside, processId, output, params.mode ?? "text");
}

/** Returns a handle of a process that is there. */
export function findProcess<R extends string | Uint8Array>(
  inside: Inside,
  processId: string,
  params: SandboxProcessParams,
): ContainerProcess<R> {
  inside.check();
  const offsets = [params.stdoutOffset ?? 0, params.stderrOffset ?? 0] as const;
  if (!offsets.every((offset) => Number.isSafeInteger(offset) && offset >= 0)) {
    throw new InvalidError("an offset is a whole number, 0 or more");
  }
  return new ContainerProcess<R>(inside, processId, new Output({ inside, processId, offsets }), params.mode ?? "text");
}

/** Lists the processes that were started, oldest first. */
export async function listProcesses(inside: Inside): Promise<ProcessInfo[]> {
  const { processes } = await inside.call(() => inside.rpc(ProcessService).listProcesses({}));
  return processes.map(processInfo);
}

/** Lists every process of the system. */
export async function listSystemProcesses(inside: Inside): Promise<SystemProcessInfo[]> {
  const { system } = await inside.call(() => inside.rpc(ProcessService).listProcesses({ all: true }));
  return system.map(systemProcessInfo);
}
