"""What importing an SDK costs a program, beyond starting Python."""

import subprocess

from bench.machine import ROOT
from bench.timing import Spread, repeat


def importing() -> dict[str, Spread]:
    """Milliseconds of a whole process that imports nothing, skerry, all that a first program names, and modal."""
    ours, peers = str(ROOT / ".venv/bin/python"), str(ROOT / "bench/.venv/bin/python")
    return {
        "nothing": _process(ours, "pass"),
        "skerry": _process(ours, "import skerry"),
        # Skerry's modules load when they are first named; modal's all at once.
        "skerry names": _process(ours, "from skerry import App, Function, FunctionCall, Image, Secret"),
        "modal": _process(peers, "import modal"),
    }


def _process(python: str, code: str) -> Spread:
    return repeat(lambda: subprocess.run([python, "-c", code], check=True, capture_output=True), times=20, warmup=3)
