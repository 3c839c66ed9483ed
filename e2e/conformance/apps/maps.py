"""Maps."""

import time

import skerry

app = skerry.App("conformance-maps")


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
def power(x: int, y: int, *, plus: int = 0) -> int:
    return x**y + plus


@app.function()
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@app.function()
def nothing(_: int) -> None:
    return None


@app.function(max_containers=3)
@skerry.concurrent(max_inputs=20)
def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def one() -> int:
    return 1


@app.function()
def says() -> None:
    print("it says this")
