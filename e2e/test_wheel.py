"""What people install from `make dist` runs the hello example."""

import subprocess
from pathlib import Path

import pytest

from e2e.client import client
from e2e.daemon import ROOT, Daemon, new_virtualenv


@pytest.fixture(scope="module")
def wheels() -> tuple[Path, Path]:
    """The wheels of the SDK and of skerry-modal."""
    subprocess.run(["make", "dist"], cwd=ROOT, check=True, capture_output=True)
    (sdk,) = (ROOT / "dist").glob("skerry-*.whl")
    (compat,) = (ROOT / "dist").glob("skerry_modal-*.whl")
    return sdk, compat


def test_wheels_in_a_clean_environment(daemon: Daemon, tmp_path: Path, wheels: tuple[Path, Path]) -> None:
    bin_folder = new_virtualenv(tmp_path / "venv", *map(str, wheels))
    with client(daemon, [str(bin_folder / "skerry"), "run", "examples/01_hello/hello.py"]) as program:
        program.finish()
    program_file = "examples/14_modal_program/program.py"
    for command in (["modal"], ["python", "-m", "modal"]):
        with client(daemon, [str(bin_folder / command[0]), *command[1:], "run", program_file]) as program:
            assert "hello skerry" in program.finish()


def test_skerry_modal_is_not_there_beside_modal(tmp_path: Path, wheels: tuple[Path, Path]) -> None:
    bin_folder = new_virtualenv(tmp_path / "venv", *map(str, wheels))
    (packages,) = tmp_path.glob("venv/lib/python*/site-packages")
    # What pip leaves of Modal's own package, as far as the check looks.
    metadata = packages / "modal-1.5.4.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: modal\nVersion: 1.5.4\n")
    for argv in (["python", "-c", "import modal"], ["modal", "--version"]):
        done = subprocess.run([str(bin_folder / argv[0]), *argv[1:]], text=True, capture_output=True, check=False)
        assert done.returncode != 0
        assert "modal 1.5.4 and skerry-modal are both installed" in done.stderr
    build = [str(bin_folder / "python"), "-m", "pip", "install", "--quiet", "hatchling"]
    subprocess.run(build, check=True)
    again = [*build[:-2], "--no-build-isolation", "--no-deps", "--force-reinstall", str(ROOT / "sdk-python/compat")]
    done = subprocess.run(again, text=True, capture_output=True, check=False)
    assert done.returncode != 0
    assert "pip uninstall modal first" in done.stderr + done.stdout
