"""Logs: what functions print is kept, and can be read by app, function and call.

Run it with: skerry run logs.py
"""

import sys

import skerry

app = skerry.App("logs")


@app.function()
def talk(name: str) -> None:
    """Print to both streams."""
    print(f"{name} says hello")
    print(f"{name} complains", file=sys.stderr)


@app.local_entrypoint()
def main() -> None:
    """Read back what one of two calls wrote."""
    first, second = talk.spawn("Ada"), talk.spawn("Bob")
    skerry.FunctionCall.gather(first, second)
    print("of Bob's call:", sorted(entry.message.strip() for entry in second.logs.stream(timeout=10)))
