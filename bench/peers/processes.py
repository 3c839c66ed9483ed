"""multiprocessing: two native worker processes of the standard library, no isolation, no queue that outlives anything."""

import json
import multiprocessing
import platform

from bench.timing import rate, repeat


def noop(_: int = 0) -> None:
    """Nothing."""


def main() -> None:
    """Measure a pool of two."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        warm = repeat(lambda: pool.apply(noop), times=3000, warmup=300)
        calls = max(rate(lambda count: list(pool.imap(noop, range(count), chunksize=1)), 20_000) for _ in range(3))
    print(json.dumps({"version": platform.python_version(), "p50_ms": warm.p50, "p99_ms": warm.p99, "map_per_s": calls}))


if __name__ == "__main__":
    main()
