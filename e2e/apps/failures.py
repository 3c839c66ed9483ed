"""Functions that fail in every way a process can, and a caller that goes on."""

import ctypes
import os
import sys
import threading
import time

import skerry

app = skerry.App("failures")


@app.function(memory=(128, 256), timeout=60)
def out_of_memory() -> int:
    return len(bytearray(os.urandom(1)) * (1 << 30))


@app.function(timeout=2)
def too_long(wait: bool = True) -> str:
    if wait:
        threading.Event().wait()
    return "in time"


@app.function()
def system_exit(fail: bool = True) -> str:
    if fail:
        raise SystemExit(4)
    return "fine"


@app.function()
def recursion(fail: bool = True) -> str:
    def deeper(depth: int) -> int:
        return deeper(depth + 1) + 1

    if fail:
        deeper(0)
    return "fine"


@app.function()
def hard_exit(fail: bool = True) -> str:
    if fail:
        os._exit(3)
    return "fine"


@app.function()
def segfault(fail: bool = True) -> str:
    if fail:
        ctypes.string_at(0)
    return "fine"


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


@app.function()
def unpicklable(fail: bool = True) -> str:
    if fail:
        raise Unpicklable
    return "fine"


@app.function()
def chained(fail: bool = True) -> str:
    if fail:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("no such key") from error
    return "fine"


@app.local_entrypoint()
def main(name: str) -> None:
    """Call it so that it fails, say how, and call it again so that it does not."""
    function = globals()[name]
    if name == "too_long":
        function.remote(False)
    start = time.monotonic()
    try:
        function.remote()
    except BaseException as error:
        cause = f"{type(error.__cause__).__name__}" if error.__cause__ else ""
        text = str(error).replace("\n", " ")
        print(f"failed|{type(error).__name__}|{text}|{cause}|{time.monotonic() - start:.3f}", flush=True)
    else:
        sys.exit(f"{name} did not fail")
    if name != "out_of_memory":
        print(f"again|{function.remote(False)}", flush=True)
