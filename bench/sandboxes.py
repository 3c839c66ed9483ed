"""What sandboxes cost: run by .venv against the skerryd of HOME's profile; prints one JSON object."""

import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import skerry

from bench.timing import Spread, repeat, spread

COUNT = 100
MB = 1_000_000
FILE = 200 * MB

app = skerry.App.lookup("bench-sandboxes", create_if_missing=True)
plain = skerry.Image.debian_slim()
node = plain.apt_install("nodejs")
# The same content as far as a sandbox can tell, but another image: none of it is hot.
others = [plain.env({"BENCH": str(number)}) for number in range(20)]


def _run(sandbox: skerry.Sandbox, *argv: str) -> str:
    process = sandbox.exec(*argv)
    text = process.stdout.read()
    if (code := process.wait()) != 0:
        raise RuntimeError(f"{argv} exited with {code}: {process.stderr.read()}")
    return text


def _first(image: skerry.Image, *argv: str) -> float:
    """Seconds from create to the result of a first command, in a sandbox that is then ended."""
    began = time.perf_counter()
    sandbox = skerry.Sandbox.create(app=app, image=image)
    try:
        _run(sandbox, *argv)
        return time.perf_counter() - began
    finally:
        sandbox.terminate()


def _new(_: int) -> skerry.Sandbox:
    return skerry.Sandbox.create(app=app, image=plain)


def _true(sandbox: skerry.Sandbox) -> str:
    return _run(sandbox, "true")


def _end(sandbox: skerry.Sandbox) -> None:
    sandbox.terminate(wait=True)


def _sequence(image: skerry.Image, *argv: str) -> Spread:
    return spread([_first(image, *argv) for _ in range(COUNT)])


def _burst(image: skerry.Image, *argv: str) -> Spread:
    with ThreadPoolExecutor(COUNT) as pool:
        return spread([job.result() for job in [pool.submit(_first, image, *argv) for _ in range(COUNT)]])


def _settle(seconds: float = 30.0) -> None:
    """Let pools fill, as they do between the bursts of real users."""
    time.sleep(seconds)


def _rate(work: Callable[[], object], size: int) -> float:
    began = time.perf_counter()
    work()
    return size / MB / (time.perf_counter() - began)


def _files(sandbox: skerry.Sandbox, folder: Path) -> dict[str, float]:
    source, back = folder / "up", folder / "down"
    source.write_bytes(os.urandom(FILE))
    written = _rate(lambda: sandbox.filesystem.copy_from_local(source, "/tmp/file"), FILE)
    read = _rate(lambda: sandbox.filesystem.copy_to_local("/tmp/file", back), FILE)
    if source.read_bytes() != back.read_bytes():
        raise RuntimeError("a file came back as another")
    return {"file_write_mb_s": written, "file_read_mb_s": read}


def _memory() -> int:
    """Bytes that the host has in use."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE))
    return (int(fields["MemTotal"]) - int(fields["MemAvailable"])) * 1024


def _idle(count: int) -> dict[str, float]:
    """Memory for each sandbox that does nothing, and how many are made in a second."""
    before, began = _memory(), time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        sandboxes = list(pool.map(_new, range(count)))
        list(pool.map(_true, sandboxes))
    taken = time.perf_counter() - began
    per = (_memory() - before) / count / 2**20
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_end, sandboxes))
    return {"idle_mib": per, "sandboxes_per_s": count / taken}


def _snapshots(sandbox: skerry.Sandbox) -> dict[str, float]:
    began = time.perf_counter()
    image = sandbox.snapshot_filesystem()
    files = time.perf_counter() - began
    began = time.perf_counter()
    snapshot = sandbox._experimental_snapshot()  # pyright: ignore[reportPrivateUsage] - the reference's name
    memory = time.perf_counter() - began

    def restore() -> None:
        copy = skerry.Sandbox._experimental_from_snapshot(snapshot)  # pyright: ignore[reportPrivateUsage] - the reference's name
        _run(copy, "true")
        copy.terminate()

    restored = repeat(restore, times=10, warmup=1)
    began = time.perf_counter()
    forks = sandbox.fork(10)
    forked = time.perf_counter() - began
    for fork in forks:
        fork.terminate()
    sandbox.pause()
    began = time.perf_counter()
    sandbox.resume()
    _run(sandbox, "true")
    return {
        "snapshot_files_ms": files * 1e3,
        "snapshot_memory_ms": memory * 1e3,
        "restore_p50_ms": restored.p50,
        "fork_10_ms": forked * 1e3,
        "resume_ms": (time.perf_counter() - began) * 1e3,
        "image": 1.0 if image.object_id else 0.0,
    }


def main() -> None:
    """Measure and print."""
    figures: dict[str, float] = {}
    for name, image, argv in (("plain", plain, ("true",)), ("node", node, ("node", "-v"))):
        for _ in range(3):
            _first(image, *argv)
        _burst(image, *argv)  # demand is what pools follow
        _settle()
        for kind, measure in (("sequential", _sequence), ("burst", _burst)):
            taken = measure(image, *argv)
            figures |= {f"{name}_{kind}_p50_ms": taken.p50, f"{name}_{kind}_p99_ms": taken.p99}
            _settle()
    for image in others:
        image.build(app)
    figures["not_hot_p50_ms"] = spread([_first(image, "true") for image in others]).p50
    sandbox = skerry.Sandbox.create(app=app, image=plain, timeout=3600)
    figures["exec_p50_ms"] = repeat(lambda: _run(sandbox, "true"), times=200, warmup=20).p50
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"skerry-bench-{os.getpid()}"
    folder.mkdir()
    try:
        figures |= _files(sandbox, folder)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    figures |= _snapshots(sandbox)
    sandbox.terminate(wait=True)
    figures |= _idle(100)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
