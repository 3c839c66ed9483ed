"""A large map whose inputs fail, and whose containers die, at random."""

import os
import random
import resource
import signal

import skerry

app = skerry.App("heavy")


@app.function(retries=skerry.Retries(max_retries=3, initial_delay=0.0), max_containers=2)
def square(x: int, failing: float, killing: float) -> int:
    """Fail, or kill the container, by chance: an attempt knows nothing of the one before, which was in another container."""
    chance = random.SystemRandom().random()
    if chance < failing:
        raise ValueError(f"input {x} fails")
    if chance < failing + killing:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def _resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@app.local_entrypoint()
def main(count: int, kills: int = 0) -> None:
    """Chance is per attempt: with three retries an input is lost to it once in 0.02**-4 = 6 million."""
    none = {"failing": 0.0, "killing": 0.0}
    list(square.map(range(100), kwargs=none))
    before = _resident_mib()
    expected = 0
    for result in square.map(range(count), kwargs={"failing": 0.01, "killing": (kills or count // 100) / count}):
        assert result == expected * expected, (expected, result)
        expected += 1
        if expected % (count // 10) == 0:
            print(f"progress {expected} client {_resident_mib():.0f} MiB", flush=True)
    assert expected == count, expected
    print(f"complete: {expected} results, client memory grew by {_resident_mib() - before:.0f} MiB", flush=True)
