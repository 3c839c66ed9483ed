"""Generators: results that come while the function still runs.

Run it with: skerry run generators.py
"""

from collections.abc import AsyncIterator, Iterator

import skerry

app = skerry.App("generators")


@app.function()
def countdown(n: int) -> Iterator[int]:
    """Yield numbers from a container."""
    yield from range(n, 0, -1)


@app.function()
async def words(text: str) -> AsyncIterator[str]:
    """An asynchronous generator."""
    for word in text.split():
        yield word


@app.function()
def breaks(n: int) -> Iterator[int]:
    """Yield, then fail: what was yielded before still arrives."""
    yield from range(n)
    raise ValueError("no more")


@app.local_entrypoint()
def main() -> None:
    """Read three generators."""
    print("countdown:", list(countdown.remote_gen(5)))
    print("words:", " ".join(words.remote_gen("one after the other")))

    seen = []
    try:
        for item in breaks.remote_gen(3):
            seen.append(item)  # noqa: PERF402 - the items before the exception are the point
    except ValueError as err:
        print(f"seen {seen} before: {err}")
