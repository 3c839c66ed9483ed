"""What happens when the disk of the data folder is full: whoever asks is told so, the rest goes on, and with room all goes on."""

import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from e2e.daemon import ROOT, Daemon

# Enough for an installation with an image, in bytes.
SIZE = 3 << 30

CALLER = """
import sys
import skerry
from skerry.exception import Error

app = skerry.App.lookup("full", create_if_missing=True)
double = skerry.Function.from_name("full-app", "double")
size = skerry.Function.from_name("full-app", "size")

match sys.argv[1]:
    case "spawn":
        print("call", double.spawn(21).object_id)
    case "get":
        print("got", skerry.FunctionCall.from_id(sys.argv[2]).get(timeout=60))
    case "call":
        print("got", double.remote(21))
    case "large":
        print("got", size.remote(b"x" * (int(sys.argv[2]) << 20)))
    case "sandbox":
        box = skerry.Sandbox.create(app=app)
        print("got", box.exec("echo", "hello").stdout.read().strip())
        box.terminate()
"""

PROGRAM = """
import skerry

app = skerry.App("full-app")

@app.function(max_containers=2)
def double(x):
    print("doubling", x)
    return 2 * x

@app.function(max_containers=2)
def size(data):
    return len(data)
"""


class Small:
    """A daemon whose data folder is a small file system of its own."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._filler = daemon.data / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._filler.open("wb") as file:
            size, piece = 0, 1 << 30
            while piece:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), size, piece)
                    size += piece
                    continue
                piece //= 2

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()

    def ask(self, *args: str) -> tuple[int, str]:
        """Run a client's program; its exit code and all that it said."""
        argv = [str(ROOT / ".venv/bin/python"), "-c", CALLER, *args]
        done = subprocess.run(argv, env=self.daemon.env, text=True, capture_output=True, timeout=180, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def small(tmp_path: Path) -> Generator[Small]:
    """One that runs, with a program deployed."""
    daemon = Daemon(tmp_path)
    daemon.data.mkdir()
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(daemon.data)], check=True)
    try:
        daemon.start()
        try:
            program = tmp_path / "program.py"
            program.write_text(PROGRAM)
            daemon.skerry("deploy", str(program), timeout=600)
            yield Small(daemon)
        finally:
            (daemon.data / "filler").unlink(missing_ok=True)
            daemon.stop()
    finally:
        subprocess.run(["umount", str(daemon.data)], check=True)


def test_a_full_disk_is_named_and_survived(small: Small) -> None:
    code, said = small.ask("spawn")
    assert code == 0, said
    accepted = [said.split()[1]]
    assert small.ask("call") == (0, "got 42\n")
    pid = small.daemon.pid
    small.fill()
    refused = 0
    for _ in range(3):
        code, said = small.ask("spawn")
        if code == 0:
            accepted.append(said.split()[1])
            continue
        refused += 1
        assert "disk" in said and "full" in said, said
    assert refused, "nothing was refused"
    code, said = small.ask("large", "8")
    assert code != 0
    assert "disk" in said and "full" in said, said
    for _ in range(2):
        code, said = small.ask("call")
        assert code == 0 or ("disk" in said and "full" in said), said
    # Of what has been stored, all can be read; the service answers.
    assert "full-app" in small.daemon.skerry("app", "list").stdout
    assert small.daemon.pid == pid
    small.free()
    for call in accepted:
        assert small.ask("get", call) == (0, "got 42\n")
    assert small.ask("call") == (0, "got 42\n")
    assert small.ask("large", "8") == (0, f"got {8 << 20}\n")
    assert small.ask("sandbox") == (0, "got hello\n")
    assert small.daemon.pid == pid
    # And after a crash with a full disk.
    code, said = small.ask("spawn")
    accepted = [said.split()[1]]
    small.fill()
    small.ask("spawn")
    small.daemon.kill()
    small.free()
    small.daemon.start()
    assert small.ask("get", *accepted) == (0, "got 42\n")
    assert small.ask("call") == (0, "got 42\n")
