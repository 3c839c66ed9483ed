"""Classes."""

import os
from collections.abc import Iterator

import skerry

app = skerry.App("conformance-classes")


@app.cls()
class Counter:
    start: int = skerry.parameter(default=10)
    name: str = skerry.parameter(default="counter")

    @skerry.enter()
    def begin(self) -> None:
        self.value = self.start
        self.events = ["begin"]

    @skerry.enter()
    async def continue_(self) -> None:
        self.events.append("continue")

    @skerry.method()
    def add(self, n: int) -> int:
        self.value += n
        return self.value

    @skerry.method()
    def where(self) -> tuple[str, int, str, list[str]]:
        return os.environ["SKERRY_TASK_ID"], self.start, self.name, self.events

    @skerry.method()
    async def asynchronous(self, n: int) -> int:
        return self.value + n

    @skerry.method()
    def items(self, n: int) -> Iterator[int]:
        yield from range(self.start, self.start + n)

    @skerry.method()
    def add_twice(self, n: int) -> int:
        self.add(n)  # a plain call runs here
        return self.add(n)

    @skerry.method()
    def remote_where(self) -> tuple[str, int, str, list[str]]:
        return self.where.remote()

    def undecorated(self) -> int:
        return self.start * 2

    @skerry.method()
    def calls_undecorated(self) -> int:
        return self.undecorated()


@app.cls()
class Required:
    text: str = skerry.parameter()
    flag: bool = skerry.parameter(default=False)
    data: bytes = skerry.parameter(default=b"\x00")

    @skerry.method()
    def all(self) -> tuple[str, bool, bytes]:
        return self.text, self.flag, self.data


class Base:
    @skerry.enter()
    def base_first(self) -> None:
        self.order = ["base"]

    @skerry.enter()
    def overridden(self) -> None:
        self.order.append("base overridden")

    @skerry.method()
    def inherited(self) -> list[str]:
        return self.order


@app.cls()
class Derived(Base):
    @skerry.enter()
    def then_derived(self) -> None:
        self.order.append("derived")

    @skerry.enter()
    def overridden(self) -> None:
        self.order.append("derived overridden")


@app.cls()
class Constructed:
    def __init__(self, a: int, *, b: list[int]) -> None:
        self.sum = a + sum(b)

    @skerry.method()
    def get(self) -> int:
        return self.sum


@app.cls(max_containers=1)
class Exits:
    @skerry.enter()
    def begin(self) -> None:
        print("entered", flush=True)

    @skerry.exit()
    def end(self) -> None:
        print("exit hook one", flush=True)

    @skerry.exit()
    async def end_too(self) -> None:
        print("exit hook two", flush=True)

    @skerry.method()
    def task(self) -> str:
        return os.environ["SKERRY_TASK_ID"]


@app.cls()
class FailsToEnter:
    @skerry.enter()
    def begin(self) -> None:
        raise RuntimeError("enter failed")

    @skerry.method()
    def run(self) -> None:
        pass


@app.cls(env={"FROM": "definition"})
class Options:
    @skerry.method()
    def environment(self) -> tuple[str | None, str | None, str]:
        return os.environ.get("FROM"), os.environ.get("MORE"), os.environ["SKERRY_TASK_ID"]
