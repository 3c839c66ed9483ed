"""Functions of one image and of a far larger one, each on workers of its own region."""

import hashlib
import os
import random
import time

import skerry

MIB = 1 << 20
BLOCKS = int(os.environ.get("LAZY_MIB", "0"))
app = skerry.App("lazy")

small = skerry.Image.debian_slim(python_version="3.11")
large = small.run_commands(
    f'python -c \'import random; f = open("/large", "wb"); [f.write(random.Random(block).randbytes({MIB})) for block in range({BLOCKS})]\''
)


def block(number: int) -> str:
    """The digest of one MiB of the large file, as it must be."""
    return hashlib.sha256(random.Random(number).randbytes(MIB)).hexdigest()


@app.function(image=small, region="eu-west")
def start_small() -> str:
    return "started"


@app.function(image=large, region="us-east")
def start_large() -> str:
    return "started"


@app.function(image=large, region="us-east", scaledown_window=300)
def read_block(number: int) -> str:
    try:
        with open("/large", "rb", buffering=0) as file:
            file.seek(number * MIB)
            content = b""
            while len(content) < MIB:
                content += file.read(MIB - len(content))
    except OSError as error:
        return f"OSError {error.errno}"
    return hashlib.sha256(content).hexdigest()


@app.function(image=large, region="us-east")
def throughput(blocks: int) -> float:
    """MiB a second of a reader that goes straight on."""
    began = time.perf_counter()
    with open("/large", "rb", buffering=0) as file:
        left = blocks * MIB
        while left > 0:
            left -= len(file.read(MIB))
    return blocks / (time.perf_counter() - began)


def call(name: str, *args: int) -> tuple[object, float]:
    """A call of the deployed function, and how long it took in seconds."""
    function = skerry.Function.from_name("lazy", name)
    function.hydrate()
    began = time.perf_counter()
    return function.remote(*args), time.perf_counter() - began


if __name__ == "__main__":
    import sys

    result, seconds = call(sys.argv[1], *map(int, sys.argv[2:]))
    print(f"{result} after {seconds:.3f} s")
