/** Output of a sandbox's own command, which is kept with the logs, also after the sandbox has ended. */

import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import * as faults from "../faults.js";
import { LogService, type LogSource, StreamLogsRequestSchema } from "../gen/skerry/v1/log_pb.js";
import type { Inside } from "./inside.js";
import type { ByteSource } from "./streams.js";

/** Reads one stream of a sandbox's own command, from the beginning, once. */
export class MainOutput implements ByteSource {
  readonly #inside: Inside;
  readonly #sandboxId: string;
  readonly #source: LogSource;
  readonly #controller = new AbortController();
  #entries: AsyncGenerator<Uint8Array, void, undefined> | undefined;

  constructor(inside: Inside, sandboxId: string, source: LogSource) {
    this.#inside = inside;
    this.#sandboxId = sandboxId;
    this.#source = source;
  }

  async take(): Promise<Uint8Array | undefined> {
    this.#entries ??= this.#read();
    const result = await this.#entries.next();
    return result.done ? undefined : result.value;
  }

  cancel(): void {
    this.#controller.abort();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    const { core } = this.#inside;
    const retries = core.retries();
    const encoder = new TextEncoder();
    const place = new Place();
    for (;;) {
      const request = create(StreamLogsRequestSchema, {
        containerId: this.#sandboxId,
        source: this.#source,
        follow: true,
        ...(place.time !== undefined && { since: place.time }),
      });
      const { signal, end } = this.#inside.lease(this.#controller.signal);
      try {
        place.begin();
        for await (const { entries } of core.rpc(LogService).streamLogs(request, { signal })) {
          retries.succeeded();
          for (const entry of entries) {
            if (place.isNew(entry.time)) {
              yield encoder.encode(entry.text);
            }
          }
        }
        return;
      } catch (error) {
        if (this.#controller.signal.aborted) {
          return;
        }
        this.#inside.check();
        if (!faults.isBroken(error) || !(await retries.wait(error))) {
          throw faults.from(error);
        }
      } finally {
        end();
      }
    }
  }
}

/** How far a log was read: a time, and how many entries of that time. */
class Place {
  time: Timestamp | undefined;
  #count = 0;
  #known = 0;

  /** A stream begins with the entries of the time that was reached. */
  begin(): void {
    this.#known = this.#count;
    this.#count = 0;
  }

  /** Tells whether an entry was not read before. */
  isNew(time: Timestamp | undefined): boolean {
    const same = time?.seconds === this.time?.seconds && time?.nanos === this.time?.nanos;
    if (!same) {
      this.time = time;
      this.#count = 0;
      this.#known = 0;
    }
    this.#count += 1;
    return this.#count > this.#known;
  }
}
