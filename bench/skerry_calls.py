"""Skerry's own figures: run by .venv against the skerryd of HOME's profile; prints one JSON object."""

import asyncio
import json
from collections.abc import Iterator

import skerry

from bench.timing import rate, repeat

app = skerry.App("bench")


@app.function(min_containers=1, max_containers=1)
def warm(_: int = 0) -> None:
    """Nothing, in a container that waits for it."""


@app.function(min_containers=2, max_containers=2)
def many(_: int = 0) -> None:
    """Nothing, in two containers."""


@app.function(min_containers=1, max_containers=1)
@skerry.concurrent(max_inputs=10)
def concurrent(_: int = 0) -> None:
    """Nothing, in a container that takes ten inputs at a time, in threads."""


@app.function(min_containers=1, max_containers=1)
@skerry.concurrent(max_inputs=10)
async def concurrent_async(_: int = 0) -> None:
    """Nothing, in a container that takes ten inputs at a time, as tasks."""


@app.function(min_containers=1, max_containers=1)
@skerry.concurrent(max_inputs=100)
async def sleep(seconds: float) -> None:
    """Sleep, with 99 others in the same container."""
    await asyncio.sleep(seconds)


@app.function(min_containers=2, max_containers=2)
@skerry.batched(max_batch_size=100, wait_ms=10)
def batched(xs: list[int]) -> list[None]:
    """Nothing, for up to a hundred inputs at a time."""
    return [None] * len(xs)


@app.function(min_containers=1, max_containers=1)
def items(count: int) -> Iterator[int]:
    """Numbers, one item each."""
    yield from range(count)


cold_app = skerry.App("bench-cold")


@cold_app.function()
def cold() -> None:
    """Nothing, in a container that has to be started."""


def _map(count: int) -> None:
    _check(count, list(many.map(range(count))))


def _map_batched(count: int) -> None:
    _check(count, list(batched.map(range(count))))


def _check(count: int, results: list[None]) -> None:
    if results != [None] * count:
        raise RuntimeError(f"map of {count} inputs gave {len(results)} results")


def _sleep() -> None:
    _check(100, list(sleep.map([1.0] * 100)))


def _generate(count: int) -> None:
    got = sum(1 for _ in items.remote_gen(count))
    if got != count:
        raise RuntimeError(f"generator of {count} items gave {got}")


def _cold_starts(count: int) -> list[float]:
    """Milliseconds from .remote() to its result, each of a new app that has no container yet."""
    taken: list[float] = []
    for _ in range(count):
        with cold_app.run():
            taken.append(repeat(cold.remote, times=1, warmup=0).p50)
    return sorted(taken)


def main() -> None:
    """Measure and print."""
    starts = _cold_starts(20)
    figures: dict[str, float | str] = {
        "version": skerry.__version__,
        "cold_p50_ms": starts[len(starts) // 2],
        "cold_max_ms": starts[-1],
    }
    with app.run():
        calls = repeat(warm.remote, times=3000, warmup=300)
        _map(2000)
        throughput = max(rate(_map, 20_000) for _ in range(3))
        figures |= {"p50_ms": calls.p50, "p99_ms": calls.p99, "map_per_s": throughput}
        for name, function in (("concurrent", concurrent), ("concurrent_async", concurrent_async)):
            figures[f"{name}_p50_ms"] = repeat(function.remote, times=1000, warmup=100).p50
        _map_batched(2000)
        figures["batched_per_s"] = max(rate(_map_batched, 20_000) for _ in range(3))
        sleep.remote(0.0)
        figures["sleepers_ms"] = repeat(_sleep, times=3, warmup=0).p50
        _generate(1000)
        figures["items_per_s"] = max(rate(_generate, 50_000) for _ in range(3))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
