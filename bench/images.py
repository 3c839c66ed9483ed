"""Images: how fast they are stored, and how they start on a worker that has none of them. Prints one line of JSON."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import ROOT
from e2e.fleet import Fleet
from e2e.lazy import LARGE, SMALL, call, deploy, received

MIB = 1 << 20
EXTRA = 1000
"""Size in MiB of what the large image has and the small one has not."""
READ = 400
"""How much of it is read for the throughput, in MiB."""


def images() -> dict[str, float]:
    """Figures by name."""
    out = {"export_mb_s": _export(), "native_mib_s": _native()}
    with Fleet.temporary([SMALL, LARGE]) as fleet:
        deploy(fleet, EXTRA)
        worker = fleet.workers[1]
        _, small = call(fleet, "start_small")
        before = received(worker)
        _, large = call(fleet, "start_large")
        out |= {"small_cold_ms": small * 1e3, "large_cold_ms": large * 1e3, "large_cold_mib": (received(worker) - before) / MIB}
        out["first_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
        # The kernel keeps what was read of the mount; a new worker process has a new mount over the same chunks.
        worker.command("down")
        worker.start()
        _, warm = call(fleet, "start_large")
        out["large_warm_ms"] = warm * 1e3
        out["chunks_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
        out["again_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
    return out


def _export() -> float:
    """MB/s of a tar on its way into chunks."""
    argv = ["go", "test", "-run", "^$", "-bench", "Store", "-benchtime", "5x", "./imagebuilder/export"]
    text = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = re.search(r"([\d.]+) MB/s", text)
    assert found, text
    return float(found[1])


def _native() -> float:
    """MiB/s of the same reader on a plain file of the host that is in its page cache, as the chunks of an image may be."""
    with tempfile.NamedTemporaryFile(dir=ROOT / ".cache") as file:
        for _ in range(READ):
            file.write(os.urandom(MIB))
        file.flush()
        began = time.perf_counter()
        with Path(file.name).open("rb", buffering=0) as reader:
            while reader.read(MIB):
                pass
        return READ / (time.perf_counter() - began)


if __name__ == "__main__":
    print(json.dumps(images()), file=sys.stdout)
