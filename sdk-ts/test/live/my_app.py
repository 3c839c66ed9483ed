"""The app that the programs of the documentation call."""

from collections.abc import Iterator

import skerry

app = skerry.App("my-app")


@app.function(cpu=0.02)
def square(x: int) -> int:
    return x * x


@app.function(cpu=0.02)
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(cpu=0.02)
def fail(what: str) -> None:
    raise ValueError(f"no {what}")


@app.cls(cpu=0.02)
class Greeter:
    greeting: str = skerry.parameter(default="hello")

    @skerry.method()
    def greet(self, name: str) -> str:
        return f"{self.greeting} {name}"
