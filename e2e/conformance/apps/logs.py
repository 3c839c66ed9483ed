"""Functions that print."""

import os
import subprocess
import sys

import skerry

app = skerry.App("conformance-logs")


@app.function()
def speak(text: str) -> None:
    print(f"{text} on stdout")
    print(f"{text} on stderr", file=sys.stderr)


@app.function()
def other(text: str) -> None:
    print(f"{text} from the other function")


@app.function()
def partial() -> None:
    print("no newline at the end", end="")


@app.function()
def binary() -> None:
    sys.stdout.buffer.write(b"before \xff\xfe\x00 after\n")
    sys.stdout.buffer.flush()


@app.function()
def long_line(size: int) -> None:
    sys.stdout.write("x" * size + "|end of the line\n")


@app.function()
def many(count: int) -> None:
    for i in range(count):
        print(f"line {i:07d}")


@app.function()
def child() -> None:
    subprocess.run(["sh", "-c", "echo from a child process"], check=True)
    os.write(1, b"written past Python\n")


@app.function(max_containers=1)
@skerry.concurrent(max_inputs=10)
def together(name: str) -> None:
    for i in range(20):
        print(f"{name} {i}")
