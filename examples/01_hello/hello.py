"""Hello: one function, run here, in a container, and over 200 inputs at once.

Run it with: skerry run hello.py [--count 200]
"""

import sys

import skerry

app = skerry.App("hello")


@app.function()
def square(x: int) -> int:
    """Print to both streams, so that they can be seen coming back, and return a result."""
    if x % 2 == 0:
        print("hello", x)
    else:
        print("world", x, file=sys.stderr)
    return x * x


@app.local_entrypoint()
def main(count: int = 200) -> None:
    """Square numbers in three ways."""
    # The function's body, here in this process.
    print("local:", square.local(1000))

    # The same body, in a sandbox.
    print("remote:", square.remote(1000))

    # In as many sandboxes as there is work for, the results in order.
    print("sum of squares:", sum(square.map(range(count))))
