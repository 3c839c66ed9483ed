"""A daemon that reaches the tests' S3 server in the host's network, and programs of containers that use buckets."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import skerry

from e2e import s3
from e2e.client import sdk_of
from e2e.daemon import Daemon

BUCKET = "e2e-bucket"


@pytest.fixture(scope="session")
def server() -> Iterator[s3.S3]:
    """The S3 server of all these tests."""
    with s3.server(BUCKET) as made:
        yield made


@pytest.fixture(scope="session")
def session_daemon(server: s3.S3) -> Iterator[Daemon]:
    """A daemon of these tests' own. Only its operator can let buckets be at the host's own addresses."""
    with tempfile.TemporaryDirectory(prefix="skerry-e2e-") as folder:
        daemon = Daemon(Path(folder))
        daemon.role = (*daemon.role, "--hot-sandboxes=-1", f"--bucket-endpoints={server.url}")
        try:
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def app(daemon: Daemon) -> Iterator[skerry.App]:
    """An app of the daemon's, in which this process is a client."""
    with sdk_of(daemon):
        yield skerry.App.lookup("buckets", create_if_missing=True)


class Buckets:
    """Makes sandboxes with the bucket at /data."""

    def __init__(self, app: skerry.App, server: s3.S3, ends: contextlib.ExitStack) -> None:
        self._app, self._server, self._ends = app, server, ends

    def mount(self, bucket: str = BUCKET, *, secret: dict[str, str] | None = None, **options: Any) -> skerry.CloudBucketMount:
        """A bucket of the server; options are those of CloudBucketMount."""
        variables = {**self._server.env, **(secret or {})}
        return skerry.CloudBucketMount(
            bucket, bucket_endpoint_url=self._server.url, secret=skerry.Secret.from_dict(variables), force_path_style=True, **options
        )

    def sandbox(self, *args: str, **options: Any) -> skerry.Sandbox:
        """A sandbox that ends with the test; options are those of CloudBucketMount."""
        made = skerry.Sandbox.create(*args, app=self._app, timeout=600, volumes={"/data": self.mount(**options)})
        self._ends.callback(made.terminate, wait=True)
        return made

    def object(self, key: str) -> bytes | None:
        """What the server has under a key."""
        path = self._server.folder / BUCKET / key
        return path.read_bytes() if path.is_file() else None


@pytest.fixture
def buckets(daemon: Daemon, app: skerry.App, server: s3.S3) -> Iterator[Buckets]:
    """What makes mounts and sandboxes."""
    with contextlib.ExitStack() as ends:
        yield Buckets(app, server, ends)
        daemon.revive()


def run(sandbox: skerry.Sandbox, *argv: str) -> str:
    """What a command in a sandbox prints. Raises AssertionError if it fails."""
    process = sandbox.exec(*argv)
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, f"{argv}: {out}{err}"
    return out
