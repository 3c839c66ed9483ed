"""Volumes in containers and what their commits take, beside plain folders; and buckets, beside the server asked directly. Prints JSON."""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable

import skerry

from bench.machine import ROOT
from e2e import s3

BUCKET = "bench"
MIB = 1 << 20
SIZE = 128
"""MiB of the object that is written and read."""

# Runs in the container: writes and reads a file, and prints MiB a second. What is closed is stored.
PROGRAM = f"""
import json, os, sys, time
took = {{}}
def timed(name, do):
    began = time.monotonic(); do(); took[name] = {SIZE} / (time.monotonic() - began)
def write():
    with open("/data/written", "wb") as file:
        for _ in range({SIZE}): file.write(os.urandom({MIB}))
        os.fsync(file.fileno())
def read():
    with open("/data/direct", "rb", buffering=0) as file:
        while file.read({MIB}): pass
timed("write", write)
timed("read", read)
print(json.dumps(took))
"""


def main() -> None:
    """Measure."""
    print(json.dumps(volumes() | {f"bucket_{name}": value for name, value in buckets().items()}))


def volumes() -> dict[str, float]:
    """What the benchmark of the worker reports, by name."""
    argv = ["go", "test", "-run", "^$", "-bench", "BenchmarkVolume$", "-benchtime", "1x", "./worker/agent"]
    text = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    line = next(line for line in text.splitlines() if line.startswith("BenchmarkVolume"))
    return {name: float(value) for value, name in re.findall(r"([\d.e+]+) ([a-z_0-9]+)(?=\s|$)", line)}


def buckets() -> dict[str, float]:
    """MiB a second of a mount, and of the same bytes sent to the server and got from it without one."""
    server = s3.S3(os.environ["BENCH_S3"], ROOT)
    secret = skerry.Secret.from_dict(dict(server.env))
    mount = skerry.CloudBucketMount(BUCKET, bucket_endpoint_url=server.url, secret=secret, force_path_style=True)
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(SIZE * MIB))
        file.flush()
        out = {"direct_write": _rate(lambda: _curl(server, "--upload-file", file.name))}
    out["direct_read"] = _rate(lambda: _curl(server))
    app = skerry.App.lookup("bench-buckets", create_if_missing=True)
    sandbox = skerry.Sandbox.create(app=app, timeout=600, volumes={"/data": mount})
    try:
        process = sandbox.exec("python3", "-c", PROGRAM)
        text = process.stdout.read()
        if process.wait() != 0:
            raise RuntimeError(process.stderr.read())
    finally:
        sandbox.terminate()
    return out | json.loads(text)


def _curl(server: s3.S3, *arguments: str) -> None:
    """One request for the object, signed."""
    signed = ["--aws-sigv4", f"aws:amz:{server.region}:s3", "--user", f"{server.access_key}:{server.secret_key}"]
    argv = ["curl", "-sS", "--fail", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *signed, *arguments, f"{server.url}/{BUCKET}/direct"]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def _rate(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    return SIZE / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
