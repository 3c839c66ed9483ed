"""One side of a comparison: run by a tree's .venv against that tree's skerryd. Uses nothing that older revisions lack.

Each line of standard input asks for one measurement ("warm 500"); the answer is its figure, one line, when it is done.
"""

import sys

import skerry

from bench.timing import rate, repeat

app = skerry.App("contender")
cold_app = skerry.App("contender-cold")


@app.function(min_containers=1, max_containers=1)
def warm(_: int = 0) -> None:
    """Nothing, in a container that waits for it."""


@app.function(min_containers=2, max_containers=2)
def many(_: int = 0) -> None:
    """Nothing, in two containers."""


@cold_app.function()
def cold() -> None:
    """Nothing, in a container that has to be started."""


def _map(count: int) -> None:
    results = list(many.map(range(count)))
    if results != [None] * count:
        raise RuntimeError(f"map of {count} inputs gave {len(results)} results")


def _measure(what: str, count: int) -> float:
    if what == "warm":
        return repeat(warm.remote, times=count, warmup=20).p50
    if what == "map":
        return rate(_map, count)
    if what == "cold":
        with cold_app.run():
            return repeat(cold.remote, times=count, warmup=0).p50
    raise ValueError(f"no measurement is called {what!r}")


def main() -> None:
    """Measure until standard input ends."""
    with app.run():
        warm.remote()
        _map(1000)
        print("ready", flush=True)
        for line in sys.stdin:
            what, count = line.split()
            print(_measure(what, int(count)), flush=True)


if __name__ == "__main__":
    main()
