"""What containers do with buckets."""

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import skerry
from skerry.exception import ConflictError, InternalFailure, InvalidError

from e2e import s3
from e2e.client import client
from e2e.daemon import ROOT, Daemon
from e2e.host import left_on_host
from e2e.processes import watch

from .conftest import BUCKET, Buckets, run

_CHECKS = """
import errno, os, pathlib
root = pathlib.Path("/data/checks")
root.mkdir()
(root / "a").write_text("one")
assert (root / "a").read_text() == "one"
with open(root / "a", "a") as f: f.write(" more")
assert (root / "a").read_text() == "one more"
with open(root / "a", "r+") as f: f.seek(4); f.write("MORE"); f.truncate(6)
assert (root / "a").read_text() == "one MO"
assert sorted(os.listdir(root)) == ["a"]
os.rename(root / "a", root / "b")
assert os.listdir(root) == ["b"] and os.stat(root / "b").st_size == 6
(root / "sub").mkdir()
os.rename(root / "b", root / "sub/c")
os.rename(root / "sub", root / "other")
assert (root / "other/c").read_text() == "one MO"
with open(root / "synced", "w") as f: f.write("x" * 100); f.flush(); os.fsync(f.fileno())
for action, number in [(lambda: os.symlink("/etc", root / "l"), None), (lambda: os.rmdir(root / "other"), errno.ENOTEMPTY),
                       (lambda: os.open(root / "none", os.O_RDONLY), errno.ENOENT)]:
    try: action()
    except OSError as e: assert number is None or e.errno == number, e
    else: raise AssertionError("no error")
os.remove(root / "synced")
print("all held")
"""


def test_sandbox_uses_a_bucket(buckets: Buckets) -> None:
    sandbox = buckets.sandbox()
    assert run(sandbox, "python3", "-c", _CHECKS) == "all held\n"
    assert buckets.object("checks/other/c") == b"one MO"
    assert buckets.object("checks/synced") is None
    sandbox.filesystem.write_text("by the SDK", "/data/sdk")
    assert buckets.object("sdk") == b"by the SDK"
    assert sandbox.filesystem.read_text("/data/checks/other/c") == "one MO"


def test_function_and_class_use_a_bucket(app: skerry.App, buckets: Buckets) -> None:
    program = skerry.App("bucket-functions", volumes={"/data": buckets.mount()})

    @program.function(serialized=True)
    def write(name: str, text: str) -> list[str]:
        Path("/data/functions").mkdir(exist_ok=True)
        Path("/data/functions", name).write_text(text)
        return sorted(p.name for p in Path("/data/functions").iterdir())

    @program.function(serialized=True, volumes={"/data": buckets.mount(read_only=True, key_prefix="functions/")})
    def read(name: str) -> tuple[str, str]:
        try:
            Path("/data", name).write_text("x")
        except OSError as e:
            return Path("/data", name).read_text(), e.strerror or ""
        return "", "written"

    with program.run():
        assert write.remote("a", "text") == ["a"]
        assert buckets.object("functions/a") == b"text", "it is there when the call is over"
        assert read.remote("a") == ("text", "Read-only file system")
        other = write.with_options(volumes={"/data": buckets.mount(key_prefix="elsewhere/")})
        assert other.remote("b", "apart") == ["b"]
        assert buckets.object("elsewhere/functions/b") == b"apart"


def test_large_file(buckets: Buckets, server: s3.S3, full: bool) -> None:
    mib = 2048 if full else 100
    sandbox = buckets.sandbox()
    code = f"""
import hashlib, os
d, h = os.urandom(1 << 20), hashlib.sha256()
with open("/data/large", "wb") as f:
    for n in range({mib}):
        piece = d[n % 1000:] + d[:n % 1000]
        f.write(piece)
        h.update(piece)
print(h.hexdigest())
"""
    wanted = run(sandbox, "python3", "-c", code).strip()
    stored = server.folder / BUCKET / "large"
    with stored.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == wanted
    other = buckets.sandbox(read_only=True)
    assert run(other, "sha256sum", "/data/large").split()[0] == wanted
    stored.unlink()


def test_prefix_confines(buckets: Buckets, server: s3.S3) -> None:
    outside = server.folder / BUCKET / "outside"
    outside.write_text("out")
    sandbox = buckets.sandbox(key_prefix="in/side/")
    assert run(sandbox, "ls", "-a", "/data/..", "/data").count("outside") == 0
    for path in ("/data/../outside", "/data/../../outside", "/data/sub/../../outside"):
        assert sandbox.exec("cat", path).wait() != 0
    assert sandbox.exec("ln", "-s", "../outside", "/data/link").wait() != 0
    run(sandbox, "sh", "-c", "echo kept > /data/new")
    assert buckets.object("in/side/new") == b"kept\n"
    assert outside.read_text() == "out"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bucket": "no-such-bucket"}, "there is no such bucket"),
        ({"secret": {"AWS_SECRET_ACCESS_KEY": "wrong"}}, "the secret key is not that of the access key"),
        ({"secret": {"AWS_ACCESS_KEY_ID": "nobody"}}, "does not know the access key"),
    ],
)
def test_wrong_bucket_is_named(buckets: Buckets, options: dict[str, Any], says: str) -> None:
    sandbox = buckets.sandbox(**options)
    with pytest.raises(ConflictError, match=says):
        sandbox.exec("true").wait()
    program = skerry.App("bucket-failures")

    @program.function(serialized=True, volumes={"/data": buckets.mount(**options)})
    def never() -> None: ...

    with program.run(), pytest.raises(skerry.Error, match=says):
        never.remote()


def test_private_addresses_are_closed(app: skerry.App) -> None:
    mounts = [
        skerry.CloudBucketMount("metadata", bucket_endpoint_url=url, force_path_style=True)
        for url in ("http://127.0.0.1:9", "http://169.254.169.254", "http://localhost:9")
    ]
    made = [skerry.Sandbox.create(app=app, timeout=300, volumes={"/data": mount}) for mount in mounts]
    for sandbox in made:
        with pytest.raises(ConflictError, match="can't be reached"):
            sandbox.exec("true").wait()
        sandbox.terminate(wait=True)


def test_credentials_stay_outside(buckets: Buckets, server: s3.S3) -> None:
    sandbox = buckets.sandbox()
    code = f"""
import pathlib
key = {server.secret_key[:9]!r} + {server.secret_key[9:]!r}
for pid in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("environ", "cmdline", "mountinfo"):
        try: text = (pid / name).read_text(errors="replace")
        except OSError: continue
        text = text.replace(key[:9] + "' + '" + key[9:], "")
        assert key not in text, (pid, name)
mounts = pathlib.Path("/proc/mounts").read_text()
assert {server.url!r} not in mounts and {server.access_key!r} not in mounts
"""
    run(sandbox, "python3", "-c", code)


def test_memory_is_not_kept(buckets: Buckets, app: skerry.App) -> None:
    sandbox = buckets.sandbox()
    run(sandbox, "true")
    with pytest.raises(skerry.Error, match="buckets are mounted"):
        sandbox._experimental_snapshot()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(InvalidError, match="can't be paused"):
        skerry.Sandbox.create(app=app, idle_timeout=60, on_idle="pause", volumes={"/data": buckets.mount()})


def _processes(daemon: Daemon) -> list[int]:
    records = Path("/run/skerry", daemon.instance, "buckets").glob("*/record.json")
    return [int(record.read_text().split('"process":')[1].split(",")[0]) for record in records]


def test_worker_is_killed(daemon: Daemon, buckets: Buckets) -> None:
    sandbox = buckets.sandbox()
    run(sandbox, "sh", "-c", "echo before > /data/before")
    writer = sandbox.exec("sh", "-c", "exec 3> /data/open; echo 1 >&3; read line; echo 2 >&3; exec 3>&-; echo closed")
    [process] = _processes(daemon)
    daemon.kill()
    daemon.start()
    assert _processes(daemon) == [process]
    writer.stdin.write("go\n")
    writer.stdin.drain()
    assert writer.stdout.read() == "closed\n"
    assert buckets.object("open") == b"1\n2\n"
    assert run(sandbox, "cat", "/data/before") == "before\n"
    sandbox.terminate(wait=True)
    assert _processes(daemon) == []


def test_mount_process_is_killed(daemon: Daemon, buckets: Buckets) -> None:
    sandbox = buckets.sandbox()
    run(sandbox, "true")
    [process] = _processes(daemon)
    with watch([process]) as gone:
        os.kill(process, signal.SIGKILL)
        gone.wait(30)
    with pytest.raises(InternalFailure, match=f'the process that served bucket "{BUCKET}" at /data has ended'):
        sandbox.wait()


def test_nothing_is_left(daemon: Daemon, buckets: Buckets) -> None:
    sandbox = buckets.sandbox()
    run(sandbox, "sh", "-c", "echo x > /data/x")
    assert _processes(daemon)
    sandbox.terminate(wait=True)
    daemon.stop()
    assert not list((daemon.data / "worker/buckets").iterdir())
    assert not [line for line in left_on_host(daemon) if "bucket" in line]
    daemon.start()  # for what ends with the test


def test_example(daemon: Daemon, server: s3.S3) -> None:
    env = {**server.env, "BUCKET": BUCKET, "BUCKET_ENDPOINT": server.url}
    with client(daemon, ["skerry", "run", "bucket.py"], env, cwd=ROOT / "examples/30_bucket") as program:
        assert "words: {'one': 3, 'two': 5}" in program.finish()
    assert (server.folder / BUCKET / "skerry-example/two").read_text() == "and some more of them"
