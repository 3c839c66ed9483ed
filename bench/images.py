"""Images: how fast they are stored, and how they start on a worker that has none of them. Prints one line of JSON."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import ROOT
from e2e.fleet import Fleet
from e2e.lazy import LARGE, SMALL, call, cold, deploy

MIB = 1 << 20
EXTRA = 5000
"""Size in MiB of what the large image has beside the base."""
READ = 400
"""How much of it is read for the throughput, in MiB."""
STARTS = 5
"""How often an image starts on a worker that has nothing."""


def images() -> dict[str, float]:
    """Figures by name."""
    out = {"export_mb_s": _export("Store"), "mkfs_mb_s": _export("Mkfs"), "native_mib_s": _native()}
    with Fleet.temporary([SMALL, LARGE]) as fleet:
        small_bytes, large_bytes = deploy(fleet, EXTRA)
        out |= {"small_mib": small_bytes / MIB, "large_mib": large_bytes / MIB}
        worker = fleet.workers[1]
        starts = [(cold(fleet, fleet.workers[0], "start_small"), cold(fleet, worker, "start_large")) for _ in range(STARTS)]
        for name, results in (("small", [small for small, _ in starts]), ("large", [large for _, large in starts])):
            out[f"{name}_cold_ms"] = statistics.median(seconds for seconds, _ in results) * 1e3
            out[f"{name}_cold_mib"] = statistics.median(fetched for _, fetched in results) / MIB
        out["first_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
        # The kernel keeps what was read of the mount; a new worker process has a new mount over the same chunks.
        for name, each in (("small", fleet.workers[0]), ("large", worker)):
            each.command("down")
            each.start()
            out[f"{name}_warm_ms"] = call(fleet, f"start_{name}")[1] * 1e3
        out["chunks_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
        out["again_read_mib_s"] = float(call(fleet, "throughput", READ)[0])
    return out


def _export(name: str) -> float:
    """MB/s of one of the benchmarks of storing images."""
    argv = ["go", "test", "-run", "^$", "-bench", f"{name}$", "-benchtime", "5x", "./imagebuilder/export"]
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
