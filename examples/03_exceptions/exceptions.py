"""Exceptions: what a function raises is raised in its caller, with its type, message, cause and remote traceback.

Run it with: skerry run exceptions.py
"""

import traceback

import skerry

app = skerry.App("exceptions")


class OutOfStockError(Exception):
    """An exception of one's own, with attributes."""

    def __init__(self, item: str, missing: int) -> None:
        super().__init__(item, missing)
        self.item = item
        self.missing = missing


@app.function(timeout=60)
def sell(item: str, count: int) -> str:
    """Sell what there is."""
    stock = {"apple": 3}
    try:
        left = stock[item] - count
    except KeyError as err:
        raise LookupError(f"there is no {item}") from err
    if left < 0:
        raise OutOfStockError(item, -left)
    return f"sold {count} {item}"


@app.local_entrypoint()
def main() -> None:
    """Catch remote exceptions as if they were local."""
    print(sell.remote("apple", 2))

    try:
        sell.remote("apple", 5)
    except OutOfStockError as err:
        print(f"caught {type(err).__name__}: {err.missing} {err.item} too few")

    try:
        sell.remote("pear", 1)
    except LookupError as err:
        print(f"caught {type(err).__name__}: {err}, because of {err.__cause__!r}")
        remote = [frame for frame in traceback.extract_tb(err.__traceback__) if frame.filename.startswith("<ta-")]
        print(f"raised in {remote[-1].name}: {remote[-1].line}")

    # Exceptions can be results, each in its place.
    results = sell.starmap([("apple", 1), ("apple", 9), ("pear", 1)], return_exceptions=True)
    print([result if isinstance(result, str) else type(result).__name__ for result in results])
