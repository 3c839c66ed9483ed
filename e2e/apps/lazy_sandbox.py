"""A sandbox of the large image of `lazy`, with a process that reads blocks of its file.

`open` makes it, `read SANDBOX PROCESS ASKED NUMBERS...` asks it, which was asked for some before, and `end SANDBOX` ends it.
"""

import itertools
import sys

import skerry

from e2e.apps.lazy import MIB, large

# It says its pid and when it started (field 22 of stat), and then a digest for each number that it reads.
READER = f"""
import hashlib, os, sys
file = open("/large", "rb", buffering=0)
print(os.getpid(), open("/proc/self/stat").read().split()[21], flush=True)
for number in sys.stdin:
    try:
        file.seek(int(number) * {MIB})
        content = b""
        while len(content) < {MIB}:
            content += file.read({MIB} - len(content))
        print(hashlib.sha256(content).hexdigest(), flush=True)
    except OSError as err:
        print("OSError", err.errno, flush=True)
"""


def _read(sandbox: skerry.Sandbox, process_id: str, numbers: list[str]) -> None:
    """Print who reads, and what the blocks are: of all that were asked for, so that none is missing or there twice."""
    process = sandbox.process(process_id, bufsize=1)
    asked = int(numbers.pop(0))
    process.stdin.write("".join(f"{number}\n" for number in numbers))
    process.stdin.drain()
    for line in itertools.islice(process.stdout, 1 + asked + len(numbers)):
        print("said", line.strip(), flush=True)


def main() -> None:
    """Do it."""
    match sys.argv[1:]:
        case ["open"]:
            app = skerry.App.lookup("lazy-sandbox", create_if_missing=True)
            sandbox = skerry.Sandbox.create(app=app, image=large, region="us-east", timeout=900)
            process = sandbox.exec("python3", "-c", READER)
            print("open", sandbox.object_id, process.process_id, flush=True)
        case ["read", sandbox_id, process_id, *numbers]:
            _read(skerry.Sandbox.from_id(sandbox_id), process_id, numbers)
        case ["end", sandbox_id]:
            skerry.Sandbox.from_id(sandbox_id).terminate(wait=True)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
