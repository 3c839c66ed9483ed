"""A skerryd of the tests' own: its data folder, its port, and a HOME whose profile points at it."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from e2e.processes import kill

ROOT = Path(__file__).resolve().parent.parent
SKERRY = ROOT / ".venv/bin/skerry"


class Daemon:
    """Starts, kills and stops one skerryd. Everything it leaves is under `folder`, and on the host under the name of `instance`.

    `role` is its command with flags; `prefix` is put in front of every command that belongs to it, for one in another network namespace;
    `tree` is the repository whose binaries and command line tool are used.
    """

    def __init__(self, folder: Path, role: Sequence[str] = (), prefix: Sequence[str] = (), tree: Path = ROOT) -> None:
        self.tree = tree
        self.data = folder / "data"
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{_free_port()}"
        self.role = tuple(role) or ("up", "--listen", self.address)
        self.prefix = tuple(prefix)
        self.instance = hashlib.sha256(str(self.data).encode()).hexdigest()[:6]
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{tree}/.venv/bin:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            **{name: value for name, value in os.environ.items() if name.endswith(("_CA_BUNDLE", "_CERT", "_CERT_FILE", "_CERTS"))},
        }

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, tree: Path = ROOT, flags: Sequence[str] = ()) -> Generator["Daemon"]:
        """A running daemon in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="skerry-e2e-") as folder:
            daemon = cls(Path(folder), tree=tree)
            daemon.role = (*daemon.role, *flags)
            daemon.start()
            try:
                yield daemon
            finally:
                daemon.stop()

    @property
    def pid(self) -> int | None:
        """The process that runs, or None. A number that is left of a killed one, or is another program's by now, is none."""
        try:
            pid = int((self.data / "skerryd.pid").read_text())
            program = Path(f"/proc/{pid}/exe").readlink()
        except (FileNotFoundError, ValueError):
            return None
        return pid if program.name.startswith("skerryd") else None

    def start(self, *flags: str) -> None:
        """Start it; it is ready when this returns. A running one stays as it is."""
        if self.pid is None:
            self.command(*self.role, "--detach", *flags)

    def kill(self) -> None:
        """End it as a power cut would end its process."""
        pid = self.pid
        assert pid is not None, "skerryd does not run"
        kill([pid])

    def revive(self) -> None:
        """Start it again if it was killed. One that has ended in good order stays as it is."""
        if (self.data / "skerryd.pid").exists():
            self.start()

    def stop(self) -> None:
        """End it as an operator does; returns when it has given everything back, also what one that was killed has left."""
        self.revive()
        if self.pid is not None:
            self.command("down")

    def skerry(self, *args: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the installed command line tool to its end."""
        argv = [*self.prefix, str(self.tree / ".venv/bin/skerry"), *args]
        done = subprocess.run(argv, env=self.env, cwd=ROOT, text=True, capture_output=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"skerry {' '.join(args)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}")
        return done

    def log(self, lines: int = 40) -> str:
        """The end of its log, for messages."""
        path = self.data / "skerryd.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def command(self, *args: str) -> str:
        """What a skerryd command on its data folder prints. Raises AssertionError if it fails."""
        argv = [*self.prefix, str(self.tree / "bin/skerryd"), *args, "--data", str(self.data)]
        done = subprocess.run(argv, env={**os.environ, **self.env}, text=True, capture_output=True, timeout=300, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}")
        return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_virtualenv(folder: Path, *requirements: str) -> Path:
    """A clean virtual environment with some packages; its bin folder."""
    python = shutil.which("python3") if not (ROOT / ".venv/bin/python").exists() else str(ROOT / ".venv/bin/python")
    assert python is not None
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "tools/requirements.txt"), *requirements], check=True)
    return folder / "bin"
