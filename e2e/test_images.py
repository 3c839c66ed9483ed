"""Images are built once, and a failed build says what failed."""

import base64
import contextlib
import json
import mmap
import signal
import uuid
from pathlib import Path

from e2e.client import client, run_app
from e2e.daemon import Daemon
from e2e.processes import running, watch


def test_two_clients_at_once_build_an_image_once(daemon: Daemon) -> None:
    env = {"IMAGE_TAG": uuid.uuid4().hex}
    log = daemon.data / "skerryd.log"
    before = log.read_text().count("image built")
    with client(daemon, run_app("images::main"), env) as one, client(daemon, run_app("images::main"), env) as other:
        stamps = {line for program in (one, other) for line in program.finish() if line.startswith("stamp ")}
    assert len(stamps) == 1, stamps
    # The line of the one build may still be on its way; that of another would be there.
    assert log.read_text().count("image built") <= before + 1


def _holding(folder: Path, *texts: bytes) -> list[Path]:
    """Files below a folder that hold one of the texts. A file that goes away meanwhile holds none."""
    found: list[Path] = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
                continue
            # What is mounted on a file, as network namespaces are, can't be read.
            with contextlib.suppress(OSError), path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if any(content.find(text) >= 0 for text in texts):
                    found.append(path)
    return found


def test_secrets_of_build_steps_are_in_nothing_that_is_kept(daemon: Daemon) -> None:
    secret, public = uuid.uuid4().hex, uuid.uuid4().hex
    with client(daemon, run_app("secret_image"), {"SECRET_VALUE": secret, "PUBLIC_VALUE": public}) as program:
        output = program.finish()
    assert f"said {public} no token" in output
    assert secret not in "\n".join(output)
    # The search sees databases, logs and layers: what is no secret is in them.
    seen = _holding(daemon.data, public.encode())
    assert any("skerry.db" in path.name for path in seen), seen
    assert _holding(daemon.data, secret.encode(), base64.b64encode(secret.encode())) == []
    assert _holding(Path("/run/skerry") / daemon.instance, secret.encode()) == []
    # Another value of the secret is the same image, so nothing of it is in what names one.
    with client(daemon, run_app("secret_image"), {"SECRET_VALUE": uuid.uuid4().hex, "PUBLIC_VALUE": public}) as program:
        again = program.finish()
    assert not any("run function" in line or "test -n" in line for line in again), again


def test_a_build_that_nobody_waits_for_stops(daemon: Daemon) -> None:
    tag = uuid.uuid4().hex
    env = {"TAG": tag}
    step = ("--bundle=", f"{daemon.data}/builder")
    with client(daemon, run_app("build_isolation::wait"), env) as one:
        one.until(f"{tag} has begun")
        sandbox = running(*step)
        assert sandbox
        with watch(sandbox) as gone:
            with client(daemon, run_app("build_isolation::wait"), env) as other:
                other.until(f"{tag} has begun")  # it waits for the same build, and hears all of it
                one.process.send_signal(signal.SIGINT)
                one.end()
                assert running(*step) == sandbox, "the build ended though somebody waits for it"
            gone.wait(120)


def test_failed_build_says_step_command_and_exit_code(daemon: Daemon) -> None:
    done = daemon.skerry("run", "e2e/apps/broken_image.py", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "exit 7" in output
    assert "about to fail" in output
    assert "exit code 7" in output or "exit code: 7" in output
    assert "ImageBuildError" in output or "image build" in output.lower()


def test_image_commands(daemon: Daemon) -> None:
    name, tag = f"stamped-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    with client(daemon, run_app("images::publish", "--name", name), {"IMAGE_TAG": tag}) as program:
        (image,) = (line for line in program.finish() if line.startswith("im-"))
    listed = json.loads(daemon.skerry("image", "list", "--json").stdout)
    (row,) = [row for row in listed if row["image_id"] == image]
    assert row["names"] == f"{name}:latest" and row["size"].endswith(" MB") and row["created_at"]
    (named,) = json.loads(daemon.skerry("image", "names", "list", "--prefix", name, "--json").stdout)
    assert (named["tag"], named["image_id"]) == (f"{name}:latest", image)
    assert daemon.skerry("image", "logs", image, "--all").stdout.splitlines()[0] == tag
    unasked = daemon.skerry("image", "rm", image, check=False)
    assert unasked.returncode == 2 and "--yes" in unasked.stderr
    used = daemon.skerry("image", "rm", image, "--yes", check=False)
    assert used.returncode == 1 and f"{name}:latest" in used.stderr
    unknown = daemon.skerry("image", "logs", f"im-{'0' * 22}", check=False)
    assert unknown.returncode == 1 and "NotFoundError" in unknown.stderr
