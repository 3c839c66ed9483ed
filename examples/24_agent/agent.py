"""The loop of an agent: a model writes code, a sandbox runs it and keeps its state, and the model sees what came of it."""

from __future__ import annotations

from collections.abc import Generator

import skerry

app = skerry.App.lookup("examples", create_if_missing=True)


def model() -> Generator[str, str | None, None]:
    """Stand in for a language model: each answer is code, and what came of it is what it is asked next."""
    observed = yield "import statistics; values = [4, 8, 15, 16, 23, 42]; statistics.median(values)"
    observed = yield f"median = {observed}; values[median]"
    assert "TypeError" in str(observed) or "IndexError" in str(observed)
    yield "print('sorry'); sum(value > median for value in values)"


def main() -> None:
    """Let the model work until it is done."""
    sandbox = skerry.Sandbox.create(app=app, timeout=600, idle_timeout=120, owner="example-agent", block_network=True)
    try:
        thinking = model()
        code = next(thinking)
        while True:
            run = sandbox.run_code(code, on_stdout=lambda text: print("it says:", text.strip()), timeout=30)
            observed = str(run.error.name) if run.error else run.text
            print(f"{run.execution_count}: {observed}")
            try:
                code = thinking.send(observed)
            except StopIteration:
                break
    finally:
        sandbox.terminate()
        # What a program leaves behind when it is killed is found by its owner.
        print("left:", len(skerry.Sandbox.prune(owner="example-agent")))


if __name__ == "__main__":
    main()
