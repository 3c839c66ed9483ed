import type { Core } from "../core.js";
import { checkMs } from "../duration.js";
import { InvalidError, TimeoutError } from "../errors.js";
import { VolumeService as VolumeRpcs } from "../gen/skerry/v1/volume_pb.js";
import { quote } from "../names.js";

/** A sandbox as the gateway's services name it. */
export interface Reach {
  readonly core: Core;
  /** "sb-...". */
  readonly sandboxId: string;
}

/** Throws {@link InvalidError} for what is no id of a sandbox. */
export function checkSandboxId(sandboxId: string): string {
  if (!/^sb-[0-9A-Za-z]{22}$/.test(sandboxId)) {
    throw new InvalidError(`sandbox id '${sandboxId}': want sb- and 22 letters or digits`);
  }
  return sandboxId;
}

/** Has a sandbox, or the sidecar of a name in it, see what was committed to its volumes. */
export async function reloadVolumes({ core, sandboxId }: Reach, timeoutMs: number, sidecar = ""): Promise<void> {
  const signal = AbortSignal.any([core.closing, AbortSignal.timeout(checkMs("timeoutMs", timeoutMs, { min: 1 }))]);
  try {
    await core.call(() => core.rpc(VolumeRpcs).reloadVolume({ sandboxId, sidecar }, { signal }));
  } catch (error) {
    if (signal.aborted && !core.closing.aborted) {
      const of = sidecar === "" ? `sandbox ${sandboxId}` : `sidecar ${quote(sidecar)}`;
      throw new TimeoutError(`the volumes of ${of} were not reloaded in ${timeoutMs} ms`, {
        cause: error,
      });
    }
    throw error;
  }
}
