/** How long a server that does not answer is tried. */

import { setTimeout as sleep } from "node:timers/promises";
import type { SkerryError } from "./errors.js";
import * as faults from "./faults.js";

const FIRST_DELAY_MS = 20;
const LONGEST_DELAY_MS = 500;

/** How long a server is tried, and what is thrown then. Shared by all connections of a client. */
export class Patience {
  /** Whether the server has ever been reached: then it is tried longer. */
  reached = false;
  readonly #firstMs: number;
  readonly #laterMs: number;
  readonly #giveUp: (reason: string) => SkerryError;

  /**
   * @param firstMs - how long a server that was never reached is tried.
   * @param laterMs - how long one that was reached is.
   * @param giveUp - makes the error from the last failure's text.
   */
  constructor(firstMs: number, laterMs: number, giveUp: (reason: string) => SkerryError) {
    this.#firstMs = firstMs;
    this.#laterMs = laterMs;
    this.#giveUp = giveUp;
  }

  /** How long to try from now on. */
  get ms(): number {
    return this.reached ? this.#laterMs : this.#firstMs;
  }

  /** Returns what to throw when the time is over. */
  error(reason: string): SkerryError {
    return this.#giveUp(reason);
  }

  /** Begins a series of attempts, which ends early when the signal is aborted. */
  retries(closing: AbortSignal): Retries {
    return new Retries(this, closing);
  }
}

/** One series of attempts with growing delays. */
export class Retries {
  readonly #patience: Patience;
  readonly #closing: AbortSignal;
  #since: number | undefined;
  #delay = FIRST_DELAY_MS;

  constructor(patience: Patience, closing: AbortSignal) {
    this.#patience = patience;
    this.#closing = closing;
  }

  /** Begins anew: the server answered. */
  succeeded(): void {
    this.#since = undefined;
    this.#delay = FIRST_DELAY_MS;
  }

  /** Waits before the next attempt. False if the time is over or the client is being closed. */
  async wait(reason: unknown): Promise<boolean> {
    const now = performance.now();
    if (!faults.isRefused(reason)) {
      this.#patience.reached = true;
    }
    this.#since ??= now;
    if (this.#closing.aborted || now + this.#delay - this.#since > this.#patience.ms) {
      return false;
    }
    try {
      await sleep(this.#delay, undefined, { signal: this.#closing });
    } catch {
      return false; // closed meanwhile
    }
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY_MS);
    return true;
  }
}
