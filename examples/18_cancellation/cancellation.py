"""Cancellation: it reaches code that runs, which may clean up, and inputs that wait.

Run it with: skerry run cancellation.py
"""

import time
from collections.abc import Iterator

import skerry

app = skerry.App("cancellation")


@app.function(max_containers=1)
def work(name: str) -> None:
    """Work for an hour, unless it is told to stop."""
    print(f"{name} begins", flush=True)
    try:
        time.sleep(3600)
    except skerry.exception.InputCancellation:
        print(f"{name} cleans up", flush=True)
        raise


@app.function()
def ticks() -> Iterator[int]:
    """Yield until nobody listens."""
    number = 0
    while True:
        yield number
        number += 1
        time.sleep(0.05)


@app.local_entrypoint()
def main() -> None:
    """Cancel a call that runs, one that waits behind it, and a generator."""
    running, waiting = work.spawn("the first"), work.spawn("the second")
    for entry in running.logs.stream():
        if "begins" in entry.message:
            break  # it runs, and the other waits: there is one container
    for call in (waiting, running):
        call.cancel()
        try:
            call.get()
        except skerry.exception.RemoteError as err:
            print("cancelled:", "cancel" in str(err).lower())

    for number in ticks.remote_gen():
        if number == 3:
            break  # leaving the loop cancels the generator
    print("read up to", number)
