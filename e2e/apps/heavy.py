"""A large map whose inputs fail, and whose containers die, at random."""

import os
import random
import signal
from collections.abc import Iterator

import skerry

app = skerry.App("heavy")

FAILING = KILLING = 0.01
_chance = random.SystemRandom()


# Two containers at all times: so short are the inputs that one would be enough, and every start would be waited for.
@app.function(retries=skerry.Retries(max_retries=3, initial_delay=0.0), min_containers=2, max_containers=2)
def same(x: int, failing: float = 0.0, killing: float = 0.0) -> int:
    """Fail, or kill the container, by chance. With three retries that is an input's end once in 0.02**-4 = 6 million."""
    chance = _chance.random()
    if chance < failing:
        raise ValueError(f"input {x} fails")
    if chance < failing + killing:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def _inputs(count: int) -> Iterator[int]:
    """Not a list or a range: what has been drawn can't be asked for again."""
    yield from range(count)


@app.local_entrypoint()
def main(count: int) -> None:
    """Says how far it is at each tenth, and asserts that each index comes once."""
    list(same.map(range(100)))
    seen = bytearray(count)
    results = same.map(_inputs(count), kwargs={"failing": FAILING, "killing": KILLING}, order_outputs=False)
    print("progress 0", flush=True)
    for number, x in enumerate(results, start=1):
        seen[x] += 1
        if number % (count // 10) == 0:
            print(f"progress {number}", flush=True)
    assert all(times == 1 for times in seen), [x for x, times in enumerate(seen) if times != 1][:20]
    print("complete", flush=True)
