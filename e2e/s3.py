"""A real S3 server for tests: tools/s3server, which make builds into bin/."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from e2e.daemon import ROOT

REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    """A server that runs: `url` with buckets in its path, its one key pair, and the folder of what is stored (`folder/BUCKET/KEY`)."""

    url: str
    folder: Path
    access_key: str = "skerry-test"
    secret_key: str = "skerry-test-secret"
    region: str = REGION

    @property
    def env(self) -> dict[str, str]:
        """What clients read their credentials from."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": self.region}

    def blobs(self, bucket: str) -> str:
        """A bucket as skerryd's setting `blobs`; the credentials are in `env`."""
        return f"s3://{bucket}?{urlencode({'endpoint': self.url, 'region': self.region})}"


@contextlib.contextmanager
def server(*buckets: str, prefix: tuple[str, ...] = ()) -> Generator[S3]:
    """A server with some buckets, in a folder that is removed afterwards. `prefix` is put in front of its command.

    It listens on 127.0.0.1 at a port of its own, and ends with the block, or with the process of the tests.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-s3-") as folder:
        made = S3("", Path(folder))
        argv = [*prefix, str(ROOT / "bin/s3server"), folder, *buckets]
        with subprocess.Popen(argv, env={**os.environ, **made.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the S3 server ended: exit code {process.wait()}"
            try:
                yield S3(line.strip(), Path(folder))
            finally:
                process.stdin.close()
                assert process.wait(30) == 0
