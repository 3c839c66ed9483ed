"""What people install from `make dist` runs the hello example."""

import subprocess
from pathlib import Path

from e2e.client import client
from e2e.daemon import ROOT, Daemon, new_virtualenv


def test_wheel_in_a_clean_environment_runs_hello(daemon: Daemon, tmp_path: Path) -> None:
    subprocess.run(["make", "dist"], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (ROOT / "dist").glob("skerry-*.whl")
    bin_folder = new_virtualenv(tmp_path / "venv", str(wheel))
    with client(daemon, [str(bin_folder / "skerry"), "run", "examples/01_hello/hello.py"]) as program:
        program.finish()
