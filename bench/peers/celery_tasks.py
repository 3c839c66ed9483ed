"""Celery on Redis: the same no-op through a queue on loopback, with two worker processes."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator

import celery
from celery import group

from bench.peers.redis_server import redis
from bench.timing import rate, repeat

URL = os.environ.get("BENCH_REDIS", "redis+socket:///nowhere")
app = celery.Celery("bench", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=64, task_ignore_result=False, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(_: int = 0) -> None:
    """Nothing."""


@contextlib.contextmanager
def workers() -> Generator[None]:
    """Two Celery worker processes; tasks given earlier wait for them in the queue."""
    argv = [sys.executable, "-m", "celery", "-A", "bench.peers.celery_tasks", "worker", "--concurrency", "2"]
    with subprocess.Popen([*argv, "--loglevel", "error", "--without-gossip", "--without-mingle"], stdout=subprocess.DEVNULL) as parent:
        try:
            yield
        finally:
            parent.terminate()


def measure() -> None:
    """Measure against the Redis of BENCH_REDIS and print the figures."""
    with workers():
        warm = repeat(lambda: noop.delay().get(timeout=60), times=1000, warmup=100)
        calls = max(rate(lambda n: group(noop.s(i) for i in range(n)).apply_async().get(timeout=120), 3000) for _ in range(2))
    print(json.dumps({"version": celery.__version__, "p50_ms": warm.p50, "p99_ms": warm.p99, "map_per_s": calls}))


def main() -> None:
    """Start Redis and measure in a process that has its address from the start, as Celery wants it."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder, redis(folder) as path:
        url = f"redis+socket://{path}"
        subprocess.run([sys.executable, "-m", "bench.peers.celery_tasks", "measure"], env={**os.environ, "BENCH_REDIS": url}, check=True)


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else main()
