"""Functions of a small image and of one a hundred times as large, each on workers of its own region."""

import collections
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator

import skerry

MIB = 1 << 20
BLOCKS = int(os.environ.get("LAZY_MIB", "0"))
app = skerry.App("lazy")

base = skerry.Image.debian_slim(python_version="3.11")
# Python and what it needs: about 50 MB. An image is stored without what a later step has removed.
_USELESS = "perl* gconv libperl* libapt* libdb-* libgnutls* libunistring* libp11* libgcrypt* libstdc++* libmvec* libsystemd* libsepol*"
small = base.run_commands(
    "rm -rf /var/cache/* /var/lib/apt /var/lib/dpkg /usr/share/[!c]* /usr/lib/apt /usr/lib/systemd /usr/lib/python3/dist-packages"
    " /usr/lib/python3.11/lib2to3 /usr/lib/python3.11/ensurepip /usr/lib/python3.11/pydoc_data /usr/lib/python3.11/distutils /usr/sbin/* "
    + " ".join(f"/usr/lib/x86_64-linux-gnu/{name}" for name in _USELESS.split())
    + " && find /usr/bin ! -type d ! -name 'python3*' ! -name '*sh' ! -name env -delete"
)
large = base.run_commands(
    f'python -c \'import random; f = open("/large", "wb"); [f.write(random.Random(block).randbytes({MIB})) for block in range({BLOCKS})]\''
)


def block(number: int) -> str:
    """The digest of one MiB of the large file, as it must be; it is also that of its chunk."""
    return hashlib.sha256(random.Random(number).randbytes(MIB)).hexdigest()


def _read(number: int) -> str:
    try:
        with open("/large", "rb", buffering=0) as file:
            file.seek(number * MIB)
            content = b""
            while len(content) < MIB:
                content += file.read(MIB - len(content))
    except OSError as error:
        return f"OSError {error.errno}"
    return hashlib.sha256(content).hexdigest()


@app.function(image=small, region="eu-west")
def start_small() -> str:
    return "started"


@app.function(image=large, region="us-east")
def start_large() -> str:
    return "started"


@app.function(image=large, region="us-east", scaledown_window=300)
def read_block(number: int) -> str:
    return _read(number)


@app.function(image=large, region="us-east")
def read_blocks(gate: int, first: int, count: int) -> Iterator[str]:
    """Reads a block until it can be read, and then others; says what came of them."""
    yield "begun"
    outcomes = collections.Counter[str]()
    while (got := _read(gate)).startswith("OSError"):
        outcomes[got] += 1
        time.sleep(0.01)
    outcomes["right" if got == block(gate) else "wrong"] += 1
    for number in range(first, first + count):
        got = _read(number)
        outcomes[got if got.startswith("OSError") else "right" if got == block(number) else "wrong"] += 1
    yield f"done {json.dumps(outcomes)}"


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

    name, args = sys.argv[1], tuple(map(int, sys.argv[2:]))
    if name == "read_blocks":
        for item in skerry.Function.from_name("lazy", name).remote_gen(*args):
            print(item, flush=True)
    else:
        result, seconds = call(name, *args)
        print(f"{result} after {seconds:.3f} s")
