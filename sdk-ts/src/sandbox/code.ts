/** Code that shares its state from run to run, and what comes of it. */

import { toDuration } from "../duration.js";
import { InvalidError, ServiceError } from "../errors.js";
import * as faults from "../faults.js";
import { type ContextInfo, InterpreterService, type RunCodeResponse } from "../gen/skerry/v1/interpreter_pb.js";
import { checkVariables, quote } from "../names.js";
import type { Secret } from "../secret.js";
import { checkWorkdir } from "./definition.js";
import type { SecretKeeper } from "./execution.js";
import type { Inside } from "./inside.js";

const MAX_CODE_BYTES = 4 << 20;
const LANGUAGES: readonly string[] = ["python", "javascript", "bash"];

/** The languages of {@link Sandbox.runCode}; the image has to have their interpreter. */
export type CodeLanguage = "python" | "javascript" | "bash";

/** A data frame that code showed. */
export interface CodeTable {
  columns: string[];
  /** The values, by row. */
  rows: unknown[][];
}

/** A value that code shows: that of its last expression, or one that it displays on the way, such as a plot. */
export class CodeResult {
  /** The forms in which it can be shown, by MIME type; what is binary is in base64. */
  readonly data: Readonly<Record<string, string>>;
  /** It is the value of the last expression. */
  readonly isMain: boolean;

  /** @internal */
  constructor(data: Readonly<Record<string, string>>, isMain: boolean) {
    this.data = data;
    this.isMain = isMain;
  }

  /** The value as text. */
  get text(): string {
    return this.data["text/plain"] ?? "";
  }

  /** The value as HTML. */
  get html(): string | null {
    return this.data["text/html"] ?? null;
  }

  /** The value as a PNG image. */
  get png(): Uint8Array | null {
    return this.#binary("image/png");
  }

  /** The value as a JPEG image. */
  get jpeg(): Uint8Array | null {
    return this.#binary("image/jpeg");
  }

  /** The value as an SVG image. */
  get svg(): string | null {
    return this.data["image/svg+xml"] ?? null;
  }

  /** The value as what JSON can say; null where there is no such form. */
  get json(): unknown {
    const text = this.data["application/json"];
    return text === undefined ? null : JSON.parse(text);
  }

  /** The value as a table, where it is a data frame. */
  get table(): CodeTable | null {
    const { json } = this;
    return isTable(json) ? { columns: [...json.columns], rows: json.rows.map((row) => [...row]) } : null;
  }

  #binary(type: string): Uint8Array | null {
    const text = this.data[type];
    return text === undefined ? null : new Uint8Array(Buffer.from(text, "base64"));
  }
}

/** An exception that ended code. */
export interface CodeError {
  /** Its class, such as "ZeroDivisionError". */
  name: string;
  /** What it says. */
  value: string;
  /** Where it was raised, as text. */
  traceback: string;
}

/** Something that came of code. */
export type CodeEvent =
  | { type: "stdout" | "stderr"; text: string }
  | { type: "result"; result: CodeResult }
  | { type: "error"; error: CodeError }
  | { type: "done"; executionCount: number; timedOut: boolean };

/** What came of code. */
export interface CodeExecution {
  /** The values that it showed, in order. */
  results: CodeResult[];
  /** The value of its last expression as text; null where it has none. */
  text: string | null;
  stdout: string;
  stderr: string;
  /** What it raised. */
  error: CodeError | null;
  /** How many pieces of code the context has run. */
  executionCount: number;
  timedOut: boolean;
}

/** Parameters of {@link Sandbox.runCode}. */
export interface RunCodeParams {
  /** In a context that all such calls share ("python"). */
  language?: CodeLanguage;
  /** Run it there instead. */
  context?: CodeContext;
  /** Interrupt it after this. */
  timeoutMs?: number;
  /** Is told what it writes to standard output, as it comes. */
  onStdout?: (text: string) => void;
  /** Is told what it writes to standard error, as it comes. */
  onStderr?: (text: string) => void;
  /** Is told each value that it shows, as it comes. */
  onResult?: (result: CodeResult) => void;
}

/** Parameters of {@link Sandbox.createCodeContext}. */
export interface CodeContextParams {
  /** Its language ("python"). */
  language?: CodeLanguage;
  /** Absolute; default: the sandbox's. */
  workdir?: string;
  /** More environment variables. */
  env?: Readonly<Record<string, string | null | undefined>>;
  /** Secrets that become environment variables. */
  secrets?: readonly Secret[];
}

/** Where code runs that shares its state: what one piece defines the next one sees. */
export class CodeContext {
  readonly contextId: string;
  readonly language: string;
  /** Where its code runs. */
  readonly workdir: string;
  readonly #inside: Inside;

  /** @internal */
  constructor(inside: Inside, info: ContextInfo) {
    this.contextId = info.contextId;
    this.language = info.language;
    this.workdir = info.workdir;
    this.#inside = inside;
  }

  /** Interrupts what runs in it, as Ctrl-C does. */
  async interrupt(): Promise<void> {
    const { contextId } = this;
    await this.#inside.call(() => this.#inside.rpc(InterpreterService).interruptContext({ contextId }));
  }

  /** Gives it fresh state. */
  async restart(): Promise<void> {
    const { contextId } = this;
    await this.#inside.call(() => this.#inside.rpc(InterpreterService).restartContext({ contextId }));
  }

  /** Ends it. */
  async remove(): Promise<void> {
    const { contextId } = this;
    await this.#inside.call(() => this.#inside.rpc(InterpreterService).removeContext({ contextId }));
  }
}

/** Makes a context with fresh state. */
export async function createContext(
  inside: Inside,
  keeper: SecretKeeper,
  params: CodeContextParams,
): Promise<CodeContext> {
  const request = {
    language: checkLanguage(params.language ?? "python"),
    workdir: checkWorkdir(params.workdir),
    env: checkVariables("createCodeContext: env", params.env ?? {}),
    environmentIds: await keeper.seal(params.secrets ?? []),
  };
  const { context } = await inside.call(() => inside.rpc(InterpreterService).createContext(request));
  if (context === undefined) {
    throw new ServiceError("the sandbox made no context");
  }
  return new CodeContext(inside, context);
}

/** Returns the contexts, oldest first. */
export async function listContexts(inside: Inside): Promise<CodeContext[]> {
  const { contexts } = await inside.call(() => inside.rpc(InterpreterService).listContexts({}));
  return contexts.map((info) => new CodeContext(inside, info));
}

/** Runs code and yields what comes of it. It is sent once: code that may have begun is not run again. */
export async function* streamCode(
  inside: Inside,
  code: string,
  params: RunCodeParams,
): AsyncGenerator<CodeEvent, void, undefined> {
  inside.check();
  const request = runRequest(code, params);
  const retries = inside.core.retries();
  for (;;) {
    const { signal, end } = inside.lease();
    try {
      for await (const response of inside.rpc(InterpreterService).runCode(request, { signal })) {
        const event = codeEvent(response);
        if (event !== undefined) {
          yield event;
        }
      }
      return;
    } catch (error) {
      inside.check();
      if (!faults.isRefused(error)) {
        throw faults.isAway(error)
          ? new ServiceError("the connection was lost while the code ran, which goes on without being seen", {
              cause: error,
            })
          : faults.from(error);
      }
      if (!(await retries.wait(error))) {
        throw faults.from(error);
      }
    } finally {
      end();
    }
  }
}

/** Runs code and returns what came of it. */
export async function runCode(inside: Inside, code: string, params: RunCodeParams): Promise<CodeExecution> {
  const execution: CodeExecution = {
    results: [],
    text: null,
    stdout: "",
    stderr: "",
    error: null,
    executionCount: 0,
    timedOut: false,
  };
  for await (const event of streamCode(inside, code, params)) {
    switch (event.type) {
      case "stdout":
        execution.stdout += event.text;
        params.onStdout?.(event.text);
        break;
      case "stderr":
        execution.stderr += event.text;
        params.onStderr?.(event.text);
        break;
      case "result":
        execution.results.push(event.result);
        execution.text = event.result.isMain ? event.result.text : execution.text;
        params.onResult?.(event.result);
        break;
      case "error":
        execution.error = event.error;
        break;
      case "done":
        execution.executionCount = event.executionCount;
        execution.timedOut = event.timedOut;
        break;
    }
  }
  return execution;
}

function runRequest(code: string, params: RunCodeParams) {
  const { context, language, timeoutMs } = params;
  if (Buffer.byteLength(code) > MAX_CODE_BYTES) {
    throw new InvalidError("code takes more than 4 MiB; write it to a file of the sandbox and run that");
  }
  if (context !== undefined && language !== undefined && language !== context.language) {
    throw new InvalidError(`language ${quote(language)}: the context's is ${quote(context.language)}`);
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) {
    throw new InvalidError(`timeoutMs ${timeoutMs}: want milliseconds, more than 0`);
  }
  return {
    code,
    contextId: context?.contextId ?? "",
    language: context === undefined ? checkLanguage(language ?? "python") : "",
    ...(timeoutMs !== undefined && { timeout: toDuration(timeoutMs) }),
  };
}

function codeEvent({ event }: RunCodeResponse): CodeEvent | undefined {
  switch (event.case) {
    case "stdout":
    case "stderr":
      return { type: event.case, text: event.value };
    case "result":
      return { type: "result", result: new CodeResult({ ...event.value.data }, event.value.main) };
    case "error": {
      const { name, value, traceback } = event.value;
      return { type: "error", error: { name, value, traceback } };
    }
    case "done":
      return { type: "done", executionCount: Number(event.value.executionCount), timedOut: event.value.timedOut };
    default:
      return undefined;
  }
}

function checkLanguage(language: string): string {
  if (!LANGUAGES.includes(language)) {
    throw new InvalidError(`language ${quote(language)}: want 'python', 'javascript' or 'bash'`);
  }
  return language;
}

function isTable(value: unknown): value is CodeTable {
  if (typeof value !== "object" || value === null || !("columns" in value) || !("rows" in value)) {
    return false;
  }
  return Array.isArray(value.columns) && Array.isArray(value.rows) && value.rows.every(Array.isArray);
}
