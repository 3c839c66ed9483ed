"""A whole daemon whose records are in PostgreSQL, messages in a NATS cluster of three, and blobs in a bucket."""

import os
import re
import subprocess
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e import backends, s3
from e2e.client import client, run_app
from e2e.daemon import ROOT, Daemon

BUCKET = "skerry"


class Larger:
    """A daemon and what it keeps everything in."""

    def __init__(self, daemon: Daemon, flow: backends.Cluster, bucket: s3.S3) -> None:
        self.daemon = daemon
        self.flow = flow
        self.bucket = bucket


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Generator[Larger]:
    """One for all tests of this file."""
    with ExitStack() as stack:
        db = stack.enter_context(backends.postgres())
        flow = stack.enter_context(backends.nats())
        bucket = stack.enter_context(s3.server(BUCKET))
        daemon = Daemon(tmp_path_factory.mktemp("larger"))
        daemon.role = (*daemon.role, "--db", db, "--nats", flow.urls, "--blobs", bucket.blobs(BUCKET))
        daemon.env |= bucket.env
        daemon.start()
        stack.callback(daemon.stop)
        yield Larger(daemon, flow, bucket)


@pytest.fixture
def daemon(larger: Larger) -> Daemon:
    """It, running."""
    larger.daemon.start()
    return larger.daemon


def test_nothing_is_kept_in_the_data_folder(larger: Larger, daemon: Daemon) -> None:
    daemon.skerry("run", "examples/01_hello/hello.py")
    assert not (daemon.data / "gateway/skerry.db").exists()
    assert not (daemon.data / "gateway/jetstream").exists()
    assert not (daemon.data / "blobs").exists()
    assert list((larger.bucket.folder / BUCKET / "sha256").glob("*/*"))


@pytest.mark.parametrize(("entrypoint", "line"), [("mapped", "result"), ("generated", "item"), ("spawned", "spawned")])
def test_every_result_over_a_killed_daemon(daemon: Daemon, entrypoint: str, line: str) -> None:
    with client(daemon, run_app(f"crash::{entrypoint}", "--count", "120")) as program:
        program.until(f"{line} 40")
        daemon.kill()
        daemon.start()
        program.until("complete", seconds=600)
        program.finish()


def test_every_result_over_a_lost_server_of_the_flow(larger: Larger, daemon: Daemon) -> None:
    with client(daemon, run_app("crash::mapped", "--count", "200")) as program:
        program.until("result 40")
        larger.flow.kill(1)
        program.until("complete", seconds=600)
        program.finish()
    larger.flow.restart(1)


def test_images_payloads_and_sandboxes(daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import skerry\n"
        'app = skerry.App("larger")\n'
        'image = skerry.Image.debian_slim().run_commands("echo built > /built")\n'
        "@app.function(image=image)\n"
        "def size(data):\n"
        '    return len(data), open("/built").read()\n'
        "@app.local_entrypoint()\n"
        "def main():\n"
        '    assert size.remote(b"x" * (20 << 20)) == (20 << 20, "built\\n")\n'
        "    box = skerry.Sandbox.create(app=app, image=image)\n"
        '    assert box.exec("cat", "/built").stdout.read() == "built\\n"\n'
        "    box.terminate()\n"
    )
    daemon.skerry("run", str(program), timeout=600)


PROGRAM = """
import time
import skerry

app = skerry.App("kept")
image = skerry.Image.debian_slim().run_commands("echo built > /built")

@app.function(image=image, secrets=[skerry.Secret.from_dict({"TOKEN": "-".join(["hush", "hush"])})], schedule=skerry.Period(days=1))
def look(data=b"", wait=0.0):
    import os
    time.sleep(wait)
    return open("/built").read(), len(os.environ["TOKEN"]), len(data)
"""

CALLER = """
import sys
import skerry

look = skerry.Function.from_name("kept", "look")
if sys.argv[1] == "spawn":
    for i in range(20):
        print("call", look.spawn(b"x" * (700_000 if i == 0 else 10), 0.2).object_id, flush=True)
else:
    for i, call in enumerate(sys.argv[2:]):
        assert skerry.FunctionCall.from_id(call).get(timeout=120) == ("built\\n", 9, 700_000 if i == 0 else 10)
    assert look.remote() == ("built\\n", 9, 0)
"""


def _caller(daemon: Daemon, *args: str) -> list[str]:
    argv = [str(ROOT / ".venv/bin/python"), "-c", CALLER, *args]
    done = subprocess.run(argv, env=daemon.env, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + daemon.log()
    return [line.split()[1] for line in done.stdout.splitlines()]


def _fill(daemon: Daemon, folder: Path) -> list[str]:
    """Deploy and spawn calls, most of which have no result yet when this returns."""
    program = folder / "kept.py"
    program.write_text(PROGRAM)
    daemon.skerry("deploy", str(program), timeout=600)
    return _caller(daemon, "spawn")


def test_a_backup_of_a_running_daemon_is_a_whole_installation(tmp_path: Path) -> None:
    archive, without = tmp_path / "copy.tar", tmp_path / "without.tar"
    with Daemon.temporary() as daemon:
        calls = _fill(daemon, tmp_path)
        assert "without the master key" in daemon.command("backup", str(without))
        assert "all secrets" in daemon.command("backup", str(archive), "--with-master-key")
        key = (daemon.data / "gateway/master.key").read_bytes()
        profile = (daemon.home / ".skerry.toml").read_text()
        _caller(daemon, "get", *calls)  # it goes on
        with pytest.raises(AssertionError, match="skerryd runs on it"):
            daemon.command("restore", str(archive))
    assert archive.read_bytes().find(key) >= 0
    assert without.read_bytes().find(key) < 0
    assert archive.read_bytes().find(b"hush-hush") < 0
    copy = Daemon(tmp_path / "copy")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:-200_000])
    with pytest.raises(AssertionError, match="archive:"):
        copy.command("restore", str(cut))
    assert "with the master key" in copy.command("restore", str(archive))
    with pytest.raises(AssertionError, match="there is an installation already"):
        copy.command("restore", str(archive))
    (copy.home / ".skerry.toml").write_text(re.sub(r"http://127.0.0.1:\d+", f"http://{copy.address}", profile))
    copy.start()
    try:
        _caller(copy, "get", *calls)
        assert "hush-hush" not in copy.log(100_000)
    finally:
        copy.stop()


def test_an_installation_moves_to_larger_stores(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    daemon.start()
    try:
        calls = _fill(daemon, tmp_path)
        daemon.kill()
        with backends.postgres() as db, backends.nats() as flow, s3.server(BUCKET) as bucket:
            daemon.env |= bucket.env
            where = ("--to-db", db, "--to-nats", flow.urls, "--to-blobs", bucket.blobs(BUCKET))
            for _ in range(2):
                argv = [str(ROOT / "bin/skerryd"), "migrate", *where, "--data", str(daemon.data)]
                with subprocess.Popen(argv, env=os.environ | daemon.env, stderr=subprocess.PIPE, text=True) as move:
                    assert move.stderr is not None
                    assert "1 blobs" in (line := move.stderr.readline()) or "were there" in line
                    move.kill()
            assert "moved" in daemon.command("migrate", *where)
            with pytest.raises(AssertionError, match=r"streams already|records already"):
                daemon.command("migrate", *where)
            for old in ("gateway/skerry.db", "gateway/jetstream", "blobs"):
                path = daemon.data / old
                path.rename(path.with_name(path.name + "-old"))
            daemon.role = (*daemon.role, "--db", db, "--nats", flow.urls, "--blobs", bucket.blobs(BUCKET))
            daemon.start()
            _caller(daemon, "get", *calls)
            daemon.stop()
    finally:
        daemon.stop()
