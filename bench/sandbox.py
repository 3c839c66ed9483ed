"""Plain gVisor without Skerry: one `runsc run` of a command on the test base, for floors."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from bench.machine import ROOT

BASE = Path(os.environ.get("SKERRY_TEST_BASE") or ROOT / ".cache/test-base.erofs")


class Sandbox:
    """A bundle that `run` and `start` run commands of. `shared` is a host folder seen as /bench inside."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        self._bundle = folder / "bundle"
        self._state = folder / "state"
        self._count = 0
        for made in (self.shared, self._bundle / "rootfs"):
            made.mkdir(parents=True)

    def run(self, *argv: str) -> None:
        """Run a command to its end in a new sandbox. Raises CalledProcessError with its output when it fails."""
        subprocess.run(self._command(argv), check=True, stdin=subprocess.DEVNULL, capture_output=True)

    @contextlib.contextmanager
    def start(self, *argv: str) -> Generator[None]:
        """A new sandbox that runs a command as long as the context; the command has to end when its socket closes."""
        child = subprocess.Popen(self._command(argv), stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            child.wait(timeout=30)

    def _command(self, argv: tuple[str, ...]) -> list[str]:
        (self._bundle / "config.json").write_text(json.dumps(self._spec(argv)))
        self._count += 1
        flags = ["--root", str(self._state), "--platform", "systrap", "--network", "none", "--host-uds=open", "--ignore-cgroups"]
        return [str(ROOT / "bin/runsc"), *flags, "run", "--bundle", str(self._bundle), f"bench-{os.getpid()}-{self._count}"]

    def _spec(self, argv: tuple[str, ...]) -> dict[str, object]:
        return {
            "ociVersion": "1.0.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": argv, "env": ["PATH=/usr/bin:/bin"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "annotations": {
                "dev.gvisor.spec.rootfs.source": str(BASE),
                "dev.gvisor.spec.rootfs.type": "erofs",
                "dev.gvisor.spec.rootfs.overlay": "memory",
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/bench", "type": "bind", "source": str(self.shared), "options": ["rbind", "rw"]},
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "network")]},
        }


@contextlib.contextmanager
def sandbox() -> Generator[Sandbox]:
    """A sandbox in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        try:
            yield Sandbox(Path(folder))
        finally:
            # runsc keeps the empty network namespace of its sandboxes mounted on a file of its state folder.
            mounted = Path(folder) / "state/null-netns"
            if mounted.exists():
                subprocess.run(["umount", str(mounted)], check=True)
