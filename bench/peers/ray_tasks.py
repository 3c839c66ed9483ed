"""Ray: the round trip of a no-op task, and many at once on two processors. Ray's tasks are not isolated."""

import json

import ray

from bench.timing import rate, repeat


@ray.remote
def noop(_: int = 0) -> None:
    """Nothing."""


def main() -> None:
    """Measure on a Ray of its own, on loopback, and stop it."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", _node_ip_address="127.0.0.1")
    try:
        warm = repeat(lambda: ray.get(noop.remote()), times=2000, warmup=300)
        calls = max(rate(lambda count: ray.get([noop.remote(i) for i in range(count)]), 10_000) for _ in range(3))
    finally:
        ray.shutdown()
    print(json.dumps({"version": ray.__version__, "p50_ms": warm.p50, "p99_ms": warm.p99, "map_per_s": calls}))


if __name__ == "__main__":
    main()
