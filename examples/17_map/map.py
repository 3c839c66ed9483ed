"""Maps: inputs of any number, drawn lazily, and their results in order, as they come, or not at all.

Run it with: skerry run map.py
"""

import itertools

import skerry

app = skerry.App("map")


@app.function()
def power(x: int, y: int, *, plus: int = 0) -> int:
    """Raise a number to a power; some can't be."""
    if x == 0 and y < 0:
        raise ZeroDivisionError("0 has no such power")
    return x**y + plus


@app.local_entrypoint()
def main() -> None:
    """Map in every way."""
    print("zipped:", list(power.map([2, 3, 4], [3, 2, 1])))
    print("tuples:", list(power.starmap([(2, 10), (10, 2)], kwargs={"plus": 1})))
    print("unordered:", sum(power.map(range(100), [2] * 100, order_outputs=False)))

    # Exceptions as results, each in its place.
    results = power.map([1, 0, 2], [-1, -1, 0], return_exceptions=True)
    print("with exceptions:", [type(result).__name__ for result in results])

    # Inputs without end: only as many are drawn as results are wanted.
    squares = power.map(itertools.count(), itertools.repeat(2))
    print("first squares:", list(itertools.islice(squares, 5)))

    # Results that nobody waits for, and results that are asked for later.
    power.for_each(range(10), [2] * 10)
    power.spawn_map(range(10), [2] * 10)
    call = power.experimental_spawn_map(range(10), [3] * 10)
    print("later:", call.num_inputs(), "cubes, the last is", call.get(index=9))
