import { create } from "@bufbuild/protobuf";
import { type Deferred, defer } from "../deferred.js";
import type { SkerryError } from "../errors.js";
import { ConflictError, NotFoundError, ServiceError } from "../errors.js";
import * as faults from "../faults.js";
import {
  type ProcessEvent,
  type ProcessExited,
  ProcessExitedSchema,
  type ProcessOutput,
  ProcessService,
  type StartProcessRequest,
} from "../gen/skerry/v1/process_pb.js";
import type { Inside } from "./inside.js";
import type { ByteSource } from "./streams.js";

/** How many bytes of a stream may wait to be read. */
const MAX_WAITING = 1 << 20;
/** How long the rest of a stream is waited for that has been read, and is not any more. */
const IDLE_MS = 10_000;
/** What a process returns that was killed with its sandbox. */
const KILLED = 137;

/** One stream of a process: what waits to be read, and where it ends in all that was written. */
class Channel {
  readonly chunks: Uint8Array[] = [];
  waiting = 0;
  /** Offset of the byte after those that wait. */
  end: number;
  /** Bytes after them were passed over, because nobody read: they are asked for again. */
  behind = false;
  /** Somebody has begun to read. */
  read = false;
  /** A reader waits, and there is nothing. */
  starving = false;
  /** Nobody will read. */
  closed = false;

  constructor(offset: number) {
    this.end = offset;
  }

  get full(): boolean {
    return !this.closed && this.waiting >= MAX_WAITING;
  }

  /** Takes bytes that begin at an offset; what it has already is dropped, what is no longer kept is passed over. */
  add(data: Uint8Array, offset: number): void {
    if (data.length === 0 || this.closed) {
      return;
    }
    if (this.behind || this.full) {
      this.behind = true;
      return;
    }
    const fresh = data.subarray(Math.max(this.end - offset, 0));
    this.end = Math.max(this.end, offset + data.length);
    if (fresh.length > 0) {
      this.chunks.push(fresh);
      this.waiting += fresh.length;
    }
  }

  shift(): Uint8Array | undefined {
    const data = this.chunks.shift();
    this.waiting -= data?.length ?? 0;
    return data;
  }

  close(): void {
    this.closed = true;
    this.chunks.length = 0;
    this.waiting = 0;
  }
}

/** What a {@link Output} follows. */
export interface OutputParams {
  inside: Inside;
  processId: string;
  /** A process to start; without one it is there already. */
  start?: StartProcessRequest;
  /** Where its streams are read from. */
  offsets?: readonly [stdout: number, stderr: number];
  /** Streams that nobody will read. */
  ignored?: readonly [stdout: boolean, stderr: boolean];
}

/**
 * The output of one process, drawn over one stream while somebody reads it, and the process's end.
 *
 * A stream that breaks is opened again at the offsets that were reached. While a reader is slow nothing is drawn, and the process waits;
 * when nobody reads it is left, and followed again from there.
 */
export class Output {
  /** Settles once the process runs. */
  readonly started: Deferred<void> = defer();
  pid = 0;
  /** Nothing more comes. */
  #complete = false;
  #exited: ProcessExited | undefined;
  #error: SkerryError | undefined;
  #changed: Deferred<void> = defer();
  #room: Deferred<void> = defer();
  #drawing: AbortController | undefined;
  readonly #params: OutputParams;
  readonly #channels: readonly [Channel, Channel];

  constructor(params: OutputParams) {
    const [stdout, stderr] = params.offsets ?? [0, 0];
    this.#params = params;
    this.#channels = [new Channel(stdout), new Channel(stderr)];
    params.ignored?.forEach((ignored, index) => {
      if (ignored) {
        this.#channels[index]?.close();
      }
    });
    if (params.start === undefined) {
      this.started.resolve();
    }
  }

  /** The exit code: -1 where its timeout passed; undefined while it is not known. */
  get code(): number | undefined {
    return this.#exited === undefined ? undefined : exitCode(this.#exited);
  }

  /** Whether the process was started here, and not found. */
  get isStart(): boolean {
    return this.#params.start !== undefined;
  }

  /** What went wrong for good. */
  get error(): SkerryError | undefined {
    return this.#error;
  }

  /** Whether the process's end will come by itself. */
  get isDrawn(): boolean {
    return this.#drawing !== undefined;
  }

  /** Resolves when anything happens. To be read before what is looked for. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  /** Returns where a stream reads standard output (0) or standard error (1). */
  source(index: 0 | 1): ByteSource {
    const channel = this.#channels[index];
    return { take: () => this.#take(channel), cancel: () => this.close(index) };
  }

  /** Has nobody read a stream. */
  close(index: 0 | 1): void {
    this.#channels[index].close();
    if (!this.#hasReaders) {
      this.#drawing?.abort();
    }
    this.#room.resolve();
  }

  /** Notes how the process ended, where another request has learnt it. */
  learn(exited: ProcessExited | undefined): void {
    this.#exited ??= exited;
    this.#notify();
  }

  /** Notes that the sandbox has ended, which kills what runs there. */
  gone(): void {
    this.#exited ??= create(ProcessExitedSchema, { exitCode: KILLED, signal: 9 });
    this.#notify();
  }

  /** Has its frames drawn, unless they are. */
  draw(): void {
    if (this.#drawing === undefined && this.#error === undefined) {
      const controller = new AbortController();
      this.#drawing = controller;
      void this.#draw(controller).finally(() => {
        if (this.#drawing === controller) {
          this.#drawing = undefined;
        }
        this.#notify();
      });
    }
  }

  async #take(channel: Channel): Promise<Uint8Array | undefined> {
    channel.read = true;
    for (;;) {
      const changed = this.#changed.promise;
      const data = channel.shift();
      if (data !== undefined) {
        this.#room.resolve();
        return data;
      }
      if (this.#complete && !channel.behind) {
        return undefined;
      }
      if (this.#error !== undefined) {
        throw this.#error;
      }
      this.#params.inside.check();
      if (channel.behind) {
        this.#catchUp();
      }
      this.draw();
      channel.starving = true;
      this.#room.resolve();
      await changed;
      channel.starving = false;
    }
  }

  /** Draws again from where the channels are. */
  #catchUp(): void {
    this.#drawing?.abort();
    this.#drawing = undefined;
    this.#complete = false;
    for (const channel of this.#channels) {
      channel.behind = false;
    }
  }

  async #draw(controller: AbortController): Promise<void> {
    const { inside } = this.#params;
    const retries = inside.core.retries();
    for (;;) {
      const { signal, end } = inside.lease(controller.signal);
      let reason: unknown = new ServiceError("the stream ended before the process did");
      try {
        for await (const event of this.#events(signal)) {
          retries.succeeded();
          if (this.#drawing !== controller) {
            return;
          }
          // Read to its end, which follows the last frame: a stream that is given up costs more to forget.
          if (!this.#deliver(event) && this.#hasReaders && !(await this.#roomy(controller))) {
            return;
          }
        }
        if (this.#complete || !this.#hasReaders) {
          return;
        }
      } catch (thrown) {
        reason = thrown;
      } finally {
        end();
      }
      if (controller.signal.aborted) {
        return;
      }
      const closed = [inside.core.closing, inside.signal].find((each) => each.aborted);
      if (closed !== undefined) {
        this.#fail(faults.from(closed.reason));
        return;
      }
      if (this.#isGone(reason)) {
        this.#complete = true;
        this.gone();
        return;
      }
      const again = reason instanceof ServiceError || faults.isRefused(reason) || faults.isBroken(reason);
      if (!again || !(await retries.wait(reason))) {
        this.#fail(faults.from(reason));
        return;
      }
    }
  }

  get #hasReaders(): boolean {
    return !this.#channels.every((channel) => channel.closed);
  }

  #fail(error: SkerryError): void {
    this.#error ??= error;
    this.started.reject(error);
    this.#notify();
  }

  /** Tells whether the sandbox has ended, after the process was seen running. */
  #isGone(reason: unknown): boolean {
    return this.pid > 0 && faults.from(reason) instanceof ConflictError && !faults.isBroken(reason);
  }

  async *#events(signal: AbortSignal): AsyncGenerator<ProcessEvent | undefined> {
    const { inside, processId, start } = this.#params;
    const processes = inside.rpc(ProcessService);
    if (start !== undefined && this.pid === 0) {
      for await (const { event } of processes.startProcess(start, { signal })) {
        yield event;
      }
      return;
    }
    const [stdout, stderr] = this.#channels;
    const request = { processId, stdoutOffset: BigInt(stdout.end), stderrOffset: BigInt(stderr.end) };
    for await (const { event } of processes.followProcess(request, { signal })) {
      yield event;
    }
  }

  /** Takes a frame. True if it is the last. */
  #deliver(event: ProcessEvent | undefined): boolean {
    switch (event?.event.case) {
      case "started":
        this.pid = event.event.value.pid;
        this.started.resolve();
        break;
      case "output":
        this.#add(event.event.value);
        break;
      case "exited":
        this.#complete = true;
        this.learn(event.event.value);
        return true;
      default:
        return false;
    }
    this.#notify();
    return false;
  }

  #add(output: ProcessOutput): void {
    const [stdout, stderr] = this.#channels;
    stdout.add(output.stdout, Number(output.stdoutOffset));
    stderr.add(output.stderr, Number(output.stderrOffset));
  }

  /** Waits while what waits is not read. False if the process is to be left. */
  async #roomy(controller: AbortController): Promise<boolean> {
    while (this.#channels.some((channel) => channel.full) && !this.#channels.some((channel) => channel.starving)) {
      if (!this.#channels.some((channel) => channel.read && !channel.closed)) {
        return false;
      }
      const room = defer();
      this.#room = room;
      const idle = setTimeout(() => controller.abort(), IDLE_MS);
      controller.signal.addEventListener("abort", room.resolve as () => void);
      await room.promise;
      controller.signal.removeEventListener("abort", room.resolve as () => void);
      clearTimeout(idle);
      if (controller.signal.aborted) {
        return false;
      }
    }
    return this.#hasReaders;
  }

  #notify(): void {
    const changed = this.#changed;
    this.#changed = defer();
    changed.resolve();
  }
}

/** Returns what `wait` returns: -1 where the timeout passed. */
export function exitCode(exited: ProcessExited): number {
  return exited.timedOut ? -1 : exited.exitCode;
}

/** Tells whether an error says that a sandbox has ended, or has forgotten a process. */
export function isEnded(error: unknown): boolean {
  return error instanceof ConflictError || error instanceof NotFoundError;
}
