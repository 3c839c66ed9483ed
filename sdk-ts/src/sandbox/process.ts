import { create } from "@bufbuild/protobuf";
import { toDuration } from "../duration.js";
import { TerminalSizeSchema } from "../gen/skerry/v1/container_pb.js";
import { ProcessService } from "../gen/skerry/v1/process_pb.js";
import type { Inside } from "./inside.js";
import { exitCode, isEnded, type Output } from "./output.js";
import { type ByteSink, type Mode, ReadStream, WriteStream } from "./streams.js";

/** How long the server lets one request wait. */
const WAIT_MS = 60_000;
const MAX_INPUT_BYTES = 1 << 20;

/** The size of a terminal, in characters. */
export interface TerminalSize {
  rows: number;
  columns: number;
}

/** A process in a sandbox or a sidecar. It goes on without this handle; {@link Sandbox.process} makes another. */
export class ContainerProcess<R extends string | Uint8Array = string> {
  /** Its id, by which other programs find it. */
  readonly processId: string;
  /** Standard input, or the keys of its terminal. */
  readonly stdin: WriteStream<R>;
  /** Standard output, or the screen of its terminal. */
  readonly stdout: ReadStream<R>;
  /** Standard error; empty with a terminal. */
  readonly stderr: ReadStream<R>;
  readonly #inside: Inside;
  readonly #output: Output;
  readonly #input: ProcessInput;

  /** @internal */
  constructor(inside: Inside, processId: string, output: Output, mode: Mode) {
    this.processId = processId;
    this.#inside = inside;
    this.#output = output;
    this.#input = new ProcessInput(inside, processId, output.isStart ? 0n : undefined);
    this.stdin = new WriteStream<R>(this.#input);
    this.stdout = new ReadStream<R>(output.source(0), mode);
    this.stderr = new ReadStream<R>(output.source(1), mode);
  }

  /** Its PID in the sandbox; 0 where it is not known. */
  get pid(): number {
    return this.#output.pid;
  }

  /** Says that no more input comes: standard input is closed, a terminal gets its end-of-file character. */
  async closeStdin(): Promise<void> {
    await this.#input.close();
  }

  /** Returns the exit code, or null while the process runs. */
  async poll(): Promise<number | null> {
    this.#inside.check();
    await this.#ask(0);
    return this.#output.code ?? null;
  }

  /**
   * Waits until the process has ended, and returns its exit code.
   *
   * It is 128 + n where signal n ended the process, 137 where the sandbox's end did, and -1 where its timeout passed. Output that nobody
   * reads doesn't hold it up: what is beyond 1 MiB is kept in the sandbox.
   */
  async wait(): Promise<number> {
    for (;;) {
      this.#inside.check();
      const changed = this.#output.changed;
      if (this.#output.code !== undefined) {
        return this.#output.code;
      }
      if (this.#output.error !== undefined) {
        throw this.#output.error;
      }
      await (this.#output.isDrawn ? changed : this.#ask(WAIT_MS));
    }
  }

  /** Sends a signal, such as 15; with `group` to all processes of its group. One that has ended is no error. */
  async signal(signal: number, params: { group?: boolean } = {}): Promise<void> {
    const request = { processId: this.processId, signal, group: params.group ?? false };
    await this.#unlessEnded(() => this.#inside.rpc(ProcessService).signalProcess(request));
  }

  /** Kills the process and all of its group. */
  async kill(): Promise<void> {
    await this.signal(9, { group: true });
  }

  /** Tells the process's terminal how large it is. Throws {@link ConflictError} where it has none. */
  async resize(size: TerminalSize): Promise<void> {
    const message = create(TerminalSizeSchema, { rows: size.rows, cols: size.columns });
    const request = { processId: this.processId, size: message };
    await this.#inside.call(() => this.#inside.rpc(ProcessService).resizeTerminal(request));
  }

  async #ask(ms: number): Promise<void> {
    if (this.#output.code !== undefined) {
      return;
    }
    const request = { processId: this.processId, limit: toDuration(ms) };
    try {
      const { exited } = await this.#inside.call(() => this.#inside.rpc(ProcessService).waitProcess(request));
      this.#output.learn(exited);
    } catch (error) {
      if (!isEnded(error)) {
        throw error;
      }
      this.#output.gone();
    }
  }

  async #unlessEnded(rpc: () => Promise<unknown>): Promise<void> {
    await this.#inside.call(rpc).catch(unlessEnded);
  }
}

/** Writes to a process, each byte once whatever happens to the connection: the server drops what it has. */
export class ProcessInput implements ByteSink {
  readonly #inside: Inside;
  readonly #processId: string;
  /** How much it has had; undefined: not known, for another may have written. */
  #offset: bigint | undefined;
  #closed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(inside: Inside, processId: string, offset?: bigint) {
    this.#inside = inside;
    this.#processId = processId;
    this.#offset = offset;
  }

  async write(data: Uint8Array): Promise<void> {
    await this.#inTurn(async () => {
      for (let at = 0; at < data.length; at += MAX_INPUT_BYTES) {
        await this.#send(data.subarray(at, at + MAX_INPUT_BYTES), false);
      }
    });
  }

  async close(): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#closed) {
        this.#closed = true;
        await this.#send(new Uint8Array(), true).catch(unlessEnded);
      }
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    await mine;
  }

  async #send(data: Uint8Array, eof: boolean): Promise<void> {
    const processes = this.#inside.rpc(ProcessService);
    const base = { processId: this.#processId };
    // Nothing, written at the beginning, tells how far others have come.
    this.#offset ??= (await this.#inside.call(() => processes.writeProcessInput({ ...base, offset: 0n }))).offset;
    const request = { ...base, offset: this.#offset, data, eof };
    this.#offset = (await this.#inside.call(() => processes.writeProcessInput(request))).offset;
  }
}

/** Takes it for done where there is nothing any more that could be closed. */
function unlessEnded(error: unknown): void {
  if (!isEnded(error)) {
    throw error;
  }
}

/** Returns how a process that the server lists has ended; null while it runs. */
export function returnCode(exited: Parameters<typeof exitCode>[0] | undefined): number | null {
  return exited === undefined ? null : exitCode(exited);
}
