"""Dicts and queues as code in containers uses them."""

from typing import Any

import skerry

app = skerry.App("conformance-storage")
results = skerry.Dict.from_name("conformance-results", create_if_missing=True)


@app.function()
def remember(key: str, value: Any) -> Any:
    results[key] = value
    results.update({f"{key} twice": [value, value]})
    return results[key], results.len() >= 2, results.pop(f"{key} twice"), f"{key} twice" in results


@app.function()
def work(jobs: skerry.Queue, done: skerry.Queue, n: int) -> int:
    for _ in range(n):
        done.put(jobs.get() * 2)
    return n


@app.function()
async def work_in_a_loop(jobs: skerry.Queue) -> list[Any]:
    await jobs.put.aio("mine")
    taken = [await jobs.get.aio(), await jobs.get.aio(block=False)]
    async for item in jobs.iterate.aio():
        taken.append(item)
    return taken


@app.function()
def elsewhere() -> str:
    try:
        skerry.Dict.from_name("conformance-results", environment_name="another").len()
    except skerry.exception.NotFoundError:
        return "not found"
    return "found"
