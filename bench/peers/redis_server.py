"""A Redis for those who are compared with it, or need it."""

import contextlib
import subprocess
from collections.abc import Generator


@contextlib.contextmanager
def redis(folder: str) -> Generator[str]:
    """A Redis without persistence on a unix socket; its address."""
    path = f"{folder}/redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "eady to accept connections" in line:
                    break
            else:
                raise RuntimeError(f"redis-server ended with exit code {server.wait()} before it was ready")
            yield path
        finally:
            server.terminate()
