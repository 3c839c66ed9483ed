"""Batching: callers give one item each, the function gets lists.

Run it with: skerry run batching.py
"""

import skerry

app = skerry.App("batching")


@app.function(max_containers=1)
@skerry.batched(max_batch_size=4, wait_ms=500)
def square(xs: list[int]) -> list[str]:
    """Square what came together, and say how many that were."""
    return [f"{x * x} (of {len(xs)})" for x in xs]


@app.local_entrypoint()
def main() -> None:
    """Eight inputs make two full batches; one alone goes after half a second."""
    print(list(square.map(range(8))))
    print("alone:", square.remote(9))
