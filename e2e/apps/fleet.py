"""Maps that go on while gateways restart and a worker is killed."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator

import skerry

app = skerry.App("fleet")


@app.function(max_containers=4)
@skerry.concurrent(max_inputs=8)
async def concurrent_square(x: int) -> tuple[int, str]:
    await asyncio.sleep(0.02)
    return x * x, os.environ["SKERRY_REGION"]


@app.function(max_containers=4)
@skerry.batched(max_batch_size=16, wait_ms=50)
def batched_square(xs: list[int]) -> list[tuple[int, str]]:
    time.sleep(0.05)
    return [(x * x, os.environ["SKERRY_REGION"]) for x in xs]


def _check(name: str, count: int, results: Callable[[], Iterator[tuple[int, str]]], failures: list[str]) -> None:
    seen = 0
    for expected, (result, region) in enumerate(results()):
        seen += 1
        if result != expected * expected:
            failures.append(f"{name}: input {expected} gave {result}")
        print(f"{name} result {seen} from {region}", flush=True)
    if seen != count:
        failures.append(f"{name}: {seen} results of {count}")


@app.local_entrypoint()
def main(count: int) -> None:
    failures: list[str] = []
    functions = {"concurrent": concurrent_square, "batched": batched_square}
    threads = [
        threading.Thread(target=_check, args=(name, count, lambda f=f: iter(f.map(range(count))), failures))
        for name, f in functions.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    print("complete", flush=True)
