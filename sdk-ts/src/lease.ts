/** A signal for one stream. */
export interface Lease {
  readonly signal: AbortSignal;
  /** Ends the stream, whoever has stopped reading it: that alone doesn't. */
  end(): void;
}

/** Returns a signal that is aborted with any of its parents; these keep nothing of it once it has ended. */
export function lease(...parents: readonly AbortSignal[]): Lease {
  const controller = new AbortController();
  const abort = (): void => controller.abort(parents.find((parent) => parent.aborted)?.reason);
  const unlink = (): void => {
    for (const parent of parents) {
      parent.removeEventListener("abort", abort);
    }
  };
  for (const parent of parents) {
    parent.addEventListener("abort", abort);
  }
  if (parents.some((parent) => parent.aborted)) {
    abort();
  }
  return {
    signal: controller.signal,
    end() {
      unlink();
      controller.abort();
    },
  };
}
