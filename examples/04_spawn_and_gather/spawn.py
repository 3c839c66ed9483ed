"""Spawn: calls that run by themselves. They are on disk when spawn returns, and can be found again by their id from anywhere.

Run it with: skerry run spawn.py
"""

import time

import skerry

app = skerry.App("spawn")


@app.function()
def slow_square(x: int, seconds: float = 0.1) -> int:
    """Take a moment."""
    time.sleep(seconds)
    return x * x


@app.local_entrypoint()
def main() -> None:
    """Start calls, do something else, and come back for the results."""
    calls = [slow_square.spawn(x) for x in range(10)]
    print("started", len(calls), "calls")

    # Wait for all of them together.
    print("gathered:", skerry.FunctionCall.gather(*calls))

    # Any process with the id can have the result, again and again, for seven days.
    same = skerry.FunctionCall.from_id(calls[7].object_id)
    print("by id:", same.get(), same.get(timeout=0))

    # A result that is not there yet.
    waiting = slow_square.spawn(12, seconds=60)
    try:
        waiting.get(timeout=0)
    except TimeoutError:
        print("not yet")

    # Nobody needs it any more.
    waiting.cancel()
    try:
        waiting.get()
    except skerry.exception.RemoteError as err:
        print("cancelled:", "cancel" in str(err).lower())
