"""Options: the same function with other limits, and a pool of containers that is steered while it runs.

Run it with: skerry run options.py
"""

import os

import skerry

app = skerry.App("options")


@app.function(env={"MODE": "usual"}, max_containers=4)
def mode() -> str:
    """What the container was told."""
    return os.environ["MODE"]


@app.function(max_containers=1)
def container(_x: int) -> str:
    """Where an input runs."""
    return os.environ["SKERRY_TASK_ID"]


@app.local_entrypoint()
def main() -> None:
    """Change what the decorator said."""
    careful = mode.with_options(env={"MODE": "careful"}, memory=256, timeout=60, retries=2)
    print("modes:", mode.remote(), "and", careful.remote())

    together = container.with_concurrency(max_inputs=8)
    print("containers:", len(set(together.map(range(8)))))

    bounds = mode.update_autoscaler(max_containers=2, scaledown_window=30)
    print("at most", bounds.max_containers, "containers, idle for", bounds.scaledown_window, "s")
    stats = mode.get_current_stats()
    print("waiting:", stats.backlog, "running:", stats.num_running_inputs)
