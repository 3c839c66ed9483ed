"""Retries and time limits: what fails now and then is run again, what hangs is ended.

Run it with: skerry run retries.py
"""

import pathlib
import time

import skerry

app = skerry.App("retries")


@app.function(retries=skerry.Retries(max_retries=3, initial_delay=0.1, backoff_coefficient=2.0), max_containers=1)
def flaky() -> int:
    """Fail twice, then work."""
    attempts = pathlib.Path("/tmp/attempts")
    with attempts.open("a") as file:
        file.write("x")
    attempt = attempts.stat().st_size
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt} failed")
    return attempt


@app.function(timeout=2)
def hangs() -> None:
    """Take longer than is allowed."""
    time.sleep(3600)


@app.function(retries=1, max_containers=1)
def hopeless() -> None:
    """Fail every time; the caller sees the last failure."""
    raise ValueError("it never works")


@app.local_entrypoint()
def main() -> None:
    """Call all three."""
    print("worked at attempt", flaky.remote())
    try:
        hangs.remote()
    except skerry.exception.FunctionTimeoutError:
        print("ended after its time limit")
    try:
        hopeless.remote()
    except ValueError as err:
        print("failed:", err)
