/** Streams of processes: Web Streams with the helpers that programs want most. */

/** What a stream carries: text in UTF-8, or bytes. */
export type Mode = "text" | "binary";

/** How much may wait in a stream that is written to, in bytes. */
const HIGH_WATER_MARK = 64 << 10;

/** Where a {@link ReadStream} gets its bytes. */
export interface ByteSource {
  /** Returns the next bytes, undefined at the end. Throws what went wrong. */
  take(): Promise<Uint8Array | undefined>;
  /** Nobody reads on. */
  cancel(): void;
}

/** Where a {@link WriteStream} puts its bytes. */
export interface ByteSink {
  /** Writes bytes; they are with the process when it returns. */
  write(data: Uint8Array): Promise<void>;
  /** Says that no more come. */
  close(): Promise<void>;
}

/** Output of a process: text in pieces as they come, or bytes. Nothing is asked for beyond a bounded buffer until it is read. */
export class ReadStream<R extends string | Uint8Array> extends ReadableStream<R> {
  /** @internal */
  constructor(source: ByteSource, mode: Mode) {
    const decoder = mode === "text" ? new TextDecoder() : undefined;
    super(
      {
        async pull(controller) {
          for (;;) {
            const data = await source.take();
            const piece = decoder === undefined ? data : decoder.decode(data, { stream: data !== undefined });
            if (piece !== undefined && piece.length > 0) {
              controller.enqueue(piece as R);
            }
            if (data === undefined) {
              controller.close();
              return;
            }
            if (piece !== undefined && piece.length > 0) {
              return;
            }
          }
        },
        cancel() {
          source.cancel();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Reads to the end and returns all of it as text. */
  async readText(): Promise<string> {
    const pieces: (string | Uint8Array)[] = [];
    for await (const piece of this) {
      pieces.push(piece);
    }
    return pieces.every((piece) => typeof piece === "string")
      ? pieces.join("")
      : new TextDecoder().decode(Buffer.concat(pieces.map(toBytes)));
  }

  /** Reads to the end and returns all of it as bytes. */
  async readBytes(): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this) {
      pieces.push(toBytes(piece));
    }
    return new Uint8Array(Buffer.concat(pieces));
  }

  /** Yields whole lines without their ends; the last one may have had none. */
  async *lines(): AsyncGenerator<string, void, undefined> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const piece of this) {
      rest += typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
    if (rest) {
      yield rest;
    }
  }
}

/** Input of a process. What was written is with the process once the promise resolves. */
export class WriteStream<R extends string | Uint8Array> extends WritableStream<R> {
  readonly #sink: ByteSink;

  /** @internal */
  constructor(sink: ByteSink) {
    super(
      { write: (chunk) => sink.write(toBytes(chunk)), close: () => sink.close() },
      { highWaterMark: HIGH_WATER_MARK, size: (chunk) => chunk?.length ?? 0 },
    );
    this.#sink = sink;
  }

  /** Writes text, in UTF-8. Throws TypeError while a writer or a pipe has the stream. */
  async writeText(text: string): Promise<void> {
    await this.writeBytes(toBytes(text));
  }

  /** Writes bytes. Throws TypeError while a writer or a pipe has the stream. */
  async writeBytes(bytes: Uint8Array): Promise<void> {
    if (this.locked) {
      throw new TypeError("the stream is locked to a writer");
    }
    await this.#sink.write(bytes);
  }
}

function toBytes(piece: string | Uint8Array): Uint8Array {
  return typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
}
