/** What a sandbox uses, and what happens to it. */

import { checkMs, toDuration } from "../duration.js";
import { ConflictError } from "../errors.js";
import { SandboxWatchService } from "../gen/skerry/v1/sandbox_watch_pb.js";
import { type SandboxEvent, type SandboxMetrics, sandboxEvent, sandboxMetrics } from "./info.js";
import type { Inside } from "./inside.js";

/** Yields what a sandbox uses, until it ends. */
export async function* streamMetrics(
  inside: Inside,
  sandboxId: string,
  intervalMs: number,
): AsyncGenerator<SandboxMetrics, void, undefined> {
  inside.check();
  const { core, signal } = inside;
  const interval = toDuration(checkMs("intervalMs", intervalMs, { min: 100, max: 3_600_000 }));
  const watch = core.rpc(SandboxWatchService);
  try {
    for await (const response of core.resume(signal, (until) =>
      watch.streamSandboxMetrics({ sandboxId, interval }, { signal: until }),
    )) {
      yield sandboxMetrics(response);
    }
  } catch (error) {
    if (!(error instanceof ConflictError)) {
      throw error; // else it has ended
    }
  }
}

/** Yields what happens to a sandbox, what has happened already first, until it has ended. */
export async function* streamEvents(inside: Inside, sandboxId: string): AsyncGenerator<SandboxEvent, void, undefined> {
  inside.check();
  const { core, signal } = inside;
  const watch = core.rpc(SandboxWatchService);
  const seen = new Set<string>();
  for await (const response of core.resume(signal, (until) =>
    watch.streamSandboxEvents({ sandboxId }, { signal: until }),
  )) {
    const event = sandboxEvent(response);
    const key = `${response.type} ${response.time?.seconds}.${response.time?.nanos} ${response.objectId}`;
    if (event !== undefined && !seen.has(key)) {
      seen.add(key);
      yield event;
    }
  }
}
