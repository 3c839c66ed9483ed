"""Servers that a larger installation uses, started for a test: PostgreSQL and a NATS cluster. The bucket is in e2e/s3.py."""

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlencode

from e2e.daemon import ROOT


@contextlib.contextmanager
def _server(argv: Sequence[str], ready: str, user: str | None = None, cwd: Path | None = None) -> Generator[subprocess.Popen[str]]:
    """A process that has said on its standard error that it is ready; killed at the end of the block."""
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, user=user, cwd=cwd) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if ready in line:
                    break
            else:
                raise AssertionError(f"{argv[0]}: {''.join(said)}")
            # Whoever nobody reads is held up in the end.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """The URL of an empty PostgreSQL that only a socket in a folder of its own leads to."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    account = pwd.getpwnam("postgres")  # it refuses root
    with tempfile.TemporaryDirectory(prefix="skerry-pg-") as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        data = f"{folder}/data"
        init = [
            programs / "initdb",
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            f"--pgdata={data}",
        ]
        subprocess.run(init, check=True, capture_output=True, user="postgres", cwd=folder)
        argv = [str(programs / "postgres"), "-D", data, "-k", folder, "-c", "listen_addresses="]
        with _server(argv, "ready to accept connections", user="postgres", cwd=Path(folder)):
            yield f"postgres:///postgres?{urlencode({'host': folder, 'user': 'postgres'})}"


class Cluster:
    """Three NATS servers with JetStream. `urls` is the setting `nats`."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._folder = folder
        ports = _free_ports(6)
        routes = ", ".join(f"nats://127.0.0.1:{p}" for p in ports[3:])
        self.urls = ",".join(f"nats://127.0.0.1:{p}" for p in ports[:3])
        self._servers: list[subprocess.Popen[str]] = []
        for i in range(3):
            (folder / f"n{i}.conf").write_text(
                f'server_name: n{i}\nlisten: "127.0.0.1:{ports[i]}"\n'
                f'jetstream {{ store_dir: "{folder}/n{i}", max_file_store: 1PB, sync_interval: 100ms }}\n'
                f'cluster {{ name: skerry, listen: "127.0.0.1:{ports[3 + i]}", routes: [{routes}] }}\n'
            )
            self._servers.append(self._start(i))

    def _start(self, i: int) -> subprocess.Popen[str]:
        argv = [str(ROOT / "bin/nats-server"), "--config", str(self._folder / f"n{i}.conf")]
        return self._stack.enter_context(_server(argv, "Server is ready"))

    def kill(self, i: int) -> None:
        """End a server as a power cut would."""
        self._servers[i].kill()
        self._servers[i].wait()

    def restart(self, i: int) -> None:
        """Start a server that was killed, on its files."""
        self._servers[i] = self._start(i)


@contextlib.contextmanager
def nats() -> Generator[Cluster]:
    """A cluster in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="skerry-nats-") as folder, contextlib.ExitStack() as stack:
        yield Cluster(Path(folder), stack)


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
