"""Functions and classes with other options than they were defined with."""

import os
import time
from collections.abc import Iterator

import skerry

app = skerry.App("conformance-options", secrets=[skerry.Secret.from_dict({"OF_APP": "app", "BOTH": "app"})])


def _seen() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ("A", "B", "OF_APP", "BOTH", "SKERRY_TASK_ID")}


@app.function(env={"A": "definition", "BOTH": "function"})
def variables() -> dict[str, str | None]:
    return _seen()


@app.function()
def counting(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(retries=0, max_containers=1)
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["SKERRY_TASK_ID"]


@app.function()
@skerry.batched(max_batch_size=2, wait_ms=200)
def sizes(xs: list[int]) -> list[int]:
    return [len(xs)] * len(xs)


@app.cls(env={"A": "definition"})
class Kept:
    number: int = skerry.parameter(default=1)
    later: str = skerry.parameter(init=False)
    other: str = skerry.parameter(default="other")

    @skerry.method()
    def variables(self) -> dict[str, str | None]:
        return _seen()

    @skerry.method()
    def own(self) -> tuple[int, str]:
        return self.number, self.other

    @skerry.method()
    def unset(self) -> str:
        try:
            return self.later
        except AttributeError as err:
            return f"AttributeError: {err}"

    def __enter__(self) -> None:
        self.entered = ["__enter__"]

    async def __aenter__(self) -> None:
        self.entered = ["__aenter__"]

    @skerry.enter()
    def enter(self) -> None:
        self.entered = [*getattr(self, "entered", []), "enter"]

    @skerry.method()
    async def here(self) -> tuple[int, list[str]]:
        return self.number, self.entered

    @skerry.method()
    def entered_by(self) -> list[str]:
        return self.entered


class Parent:
    inherited: int = skerry.parameter(default=3)

    @skerry.method()
    def of_parent(self) -> int:
        return self.inherited


@app.cls()
class Child(Parent):
    own: str = skerry.parameter(default="own")

    @skerry.method()
    def both(self) -> tuple[int, str]:
        return self.inherited, self.own
