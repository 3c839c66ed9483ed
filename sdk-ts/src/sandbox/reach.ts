import type { Core } from "../core.js";

/** A sandbox as the gateway's services name it. */
export interface Reach {
  readonly core: Core;
  /** "sb-...". */
  readonly sandboxId: string;
}
