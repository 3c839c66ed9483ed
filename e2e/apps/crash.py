"""Work that goes on while things are killed."""

import os
import time
from collections.abc import Iterator

import skerry

app = skerry.App("crash")


@app.function(max_containers=2)
def square(x: int) -> int:
    time.sleep(0.01)
    return x * x


@app.function(max_containers=1)
def gated(x: int) -> int:
    """Says where it runs, then waits until somebody writes to the gate."""
    os.mkfifo("/tmp/gate")
    print(f"started in {os.environ['SKERRY_TASK_ID']}", flush=True)
    with open("/tmp/gate") as gate:
        gate.read()
    return x + 1


@app.function(max_containers=1)
def numbers(count: int) -> Iterator[int]:
    for x in range(count):
        time.sleep(0.01)
        yield x


@app.cls(max_containers=2)
class Power:
    exponent: int = skerry.parameter()

    @skerry.enter()
    def begin(self) -> None:
        self.entered = True

    @skerry.method()
    def of(self, x: int) -> int:
        assert self.entered
        time.sleep(0.01)
        return x**self.exponent


@app.local_entrypoint()
def mapped(count: int) -> None:
    results = []
    for result in square.map(range(count)):
        results.append(result)
        print(f"result {len(results)}", flush=True)
    assert results == [x * x for x in range(count)], results
    print("complete", flush=True)


@app.local_entrypoint()
def methods(count: int) -> None:
    results = []
    for result in Power(exponent=3).of.map(range(count)):
        results.append(result)
        print(f"result {len(results)}", flush=True)
    assert results == [x**3 for x in range(count)], results
    print("complete", flush=True)


@app.local_entrypoint()
def generated(count: int) -> None:
    items = []
    for item in numbers.remote_gen(count):
        items.append(item)
        print(f"item {len(items)}", flush=True)
    assert items == list(range(count)), items
    print("complete", flush=True)


@app.local_entrypoint()
def spawned(count: int) -> None:
    calls = []
    for x in range(count):
        calls.append(square.spawn(x))
        print(f"spawned {len(calls)}", flush=True)
    results = skerry.FunctionCall.gather(*calls)
    assert list(results) == [x * x for x in range(count)], results
    print("complete", flush=True)


@app.local_entrypoint()
def one() -> None:
    print(f"answer {gated.remote(41)}", flush=True)
