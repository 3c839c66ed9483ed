"""What main.ts calls."""

from collections.abc import Iterator

import skerry

app = skerry.App("ts-example")


@app.function()
def square(x: int) -> int:
    """Return a square."""
    return x * x


@app.function()
def count(n: int) -> Iterator[int]:
    """Yield numbers from 0."""
    yield from range(n)


@app.function()
def divide(a: int, b: int) -> float:
    """Divide, or fail."""
    return a / b


@app.cls()
class Counter:
    """Counts from somewhere."""

    start: int = skerry.parameter(default=0)

    @skerry.method()
    def add(self, n: int) -> int:
        """Return the start and more."""
        return self.start + n
