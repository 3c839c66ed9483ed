"""Times of repeated calls, and what is said about them."""

import dataclasses
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Spread:
    """Quantiles of one operation, in milliseconds."""

    p50: float
    p99: float
    samples: int


def repeat(operation: Callable[[], object], *, times: int, warmup: int) -> Spread:
    """Call an operation and time each call; the first `warmup` calls are not counted."""
    taken: list[float] = []
    for number in range(warmup + times):
        start = time.perf_counter()
        operation()
        if number >= warmup:
            taken.append(time.perf_counter() - start)
    return spread(taken)


def spread(seconds: list[float]) -> Spread:
    """The quantiles of times measured elsewhere."""
    ordered = sorted(seconds)
    return Spread(
        p50=ordered[len(ordered) // 2] * 1e3,
        p99=ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
        samples=len(ordered),
    )


def rate(operation: Callable[[int], object], count: int) -> float:
    """Calls a second of an operation that makes `count` calls."""
    start = time.perf_counter()
    operation(count)
    return count / (time.perf_counter() - start)
