"""Image builders as processes of their own, and builds that are broken off."""

import contextlib
import os
import re
import signal
import tempfile
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from e2e.client import Client, client, run_app
from e2e.daemon import Daemon
from e2e.host import left_on_host
from e2e.processes import running, watch

ZSTD = b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def _builder(folder: Path, gateway: Daemon) -> Generator[Daemon]:
    token = folder.with_suffix(".token")
    token.write_text(gateway.command("token", "new", "--role", "builder", "--name", folder.name))
    builder = Daemon(folder, ("builder", "--gateway", f"http://{gateway.address}", "--token-file", str(token)))
    try:
        builder.start()
        yield builder
    finally:
        builder.stop()


@pytest.fixture(scope="module")
def builders() -> Generator[tuple[Daemon, list[Daemon]]]:
    """A gateway with a worker, and two builders."""
    with tempfile.TemporaryDirectory(prefix="skerry-builders-") as folder, contextlib.ExitStack() as stack:
        gateway = Daemon(Path(folder) / "gateway")
        gateway.role = (*gateway.role, "--external-builders")
        gateway.start()
        stack.callback(gateway.stop)
        made = [stack.enter_context(_builder(Path(folder) / f"builder{i}", gateway)) for i in range(2)]
        stack.callback(gateway.revive)
        yield gateway, made


def _steps(builder: Daemon) -> list[int]:
    """Processes of the build steps that a builder runs."""
    return running("--bundle=", str(builder.data))


def _first(program: Client) -> str:
    """What the first step made, as the build's log has it."""
    found = re.search(r"first=(\S+)", program.until("first="))
    assert found is not None
    return found[1]


@pytest.mark.parametrize("end", [Daemon.kill, Daemon.stop])
def test_builders_share_the_work_and_one_goes_on_for_another(builders: tuple[Daemon, list[Daemon]], end: Callable[[Daemon], None]) -> None:
    gateway, made = builders
    tags = [{"IMAGE_TAG": uuid.uuid4().hex, "SECONDS_TO_SLEEP": "20"} for _ in made]
    with client(gateway, run_app("resumed_image"), tags[0]) as one, client(gateway, run_app("resumed_image"), tags[0]) as same:
        one.until("begun")
        same.until("begun")
        busy = next(b for b in made if _steps(b))
        idle = next(b for b in made if b is not busy)
        assert not _steps(idle), "both builders build the same image"
        with client(gateway, run_app("resumed_image"), tags[1]) as other:
            other.until("begun")
            assert _steps(idle), "the idle builder was not asked"
            with watch(_steps(busy)) as gone:
                end(busy)
                gone.wait(120)
            stamps = {line for program in (one, same) for line in program.finish() if line.startswith("has ")}
            assert len(stamps) == 1, stamps
            other.finish()
    busy.start()
    with client(gateway, run_app("resumed_image"), {"IMAGE_TAG": uuid.uuid4().hex, "SECONDS_TO_SLEEP": "0"}) as program:
        program.finish()


def test_steps_end_with_those_they_are_for(builders: tuple[Daemon, list[Daemon]]) -> None:
    """Of a build, and on its builder, nothing goes on when its client has gone, or the gateway was killed; the next request finishes it."""
    gateway, (builder, other) = builders
    other.kill()
    env = {"IMAGE_TAG": uuid.uuid4().hex, "SECONDS_TO_SLEEP": "600"}
    with client(gateway, run_app("resumed_image"), env) as program:
        made = _first(program)
        program.until("begun")
        with watch(_steps(builder)) as gone:
            program.process.send_signal(signal.SIGINT)
            gone.wait(120)
    with client(gateway, run_app("resumed_image"), env) as program:
        program.until("begun")
        with watch(_steps(builder)) as gone:
            gateway.kill()
            gone.wait(120)
    gateway.start()
    # The first step is the same, and was done.
    with client(gateway, run_app("resumed_image"), {**env, "SECONDS_TO_SLEEP": "0"}) as program:
        assert f"has {made}" in program.finish()
    other.start()


def _logged(daemon: Daemon, text: str) -> int:
    """How often its log says something."""
    return (daemon.data / "skerryd.log").read_text(errors="replace").count(text)


@contextlib.contextmanager
def _log(daemon: Daemon, text: str) -> Generator[None]:
    """Wait at the end for one more line of its log."""
    before = _logged(daemon, text)
    yield
    with client(daemon, ["tail", "-n", "+1", "-F", str(daemon.data / "skerryd.log")]) as log:
        log.until(text, times=before + 1)


def _stamp(gateway: Daemon, tag: str, seconds: int) -> str:
    """What the first step of an image has made, whoever has run it."""
    with client(gateway, run_app("resumed_image"), {"IMAGE_TAG": tag, "SECONDS_TO_SLEEP": str(seconds)}) as program:
        return next(line for line in program.finish() if line.startswith("has "))


SHARED = "results of a build are shared"


def test_builders_find_what_others_have_made(builders: tuple[Daemon, list[Daemon]]) -> None:
    gateway, (one, other) = builders
    tag = uuid.uuid4().hex
    other.kill()
    with _log(one, SHARED):
        stamp = _stamp(gateway, tag, 0)
    one.kill()
    other.start()
    # The recipe differs in its second step; the first is the other builder's.
    with _log(other, SHARED):
        assert _stamp(gateway, tag, 1) == stamp
    other.kill()

    # A builder with an empty disk, after all layers that are shared were damaged: it makes them again.
    for path in (gateway.data / "blobs" / "sha256").glob("*/*"):
        if path.open("rb").read(4) == ZSTD:
            path.chmod(0o600)
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"damaged")
    with _builder(other.data.parent.with_name("builder-empty"), gateway) as empty:
        with _log(empty, SHARED):
            assert _stamp(gateway, tag, 2) != stamp
        assert _logged(empty, "results of other builders can't be read, and are made again")
        assert _logged(gateway, "shared results of builds are damaged in the blob store")
    for builder in (one, other):
        builder.start()


def test_nothing_is_left_of_a_builder(builders: tuple[Daemon, list[Daemon]]) -> None:
    _, made = builders
    builder = made[0]
    assert left_on_host(builder), "the probe sees nothing of a running builder"
    builder.stop()
    assert left_on_host(builder) == []
    builder.start()


@pytest.mark.parametrize("what", ["skerryd", "buildkitd"])
def test_the_next_request_finishes_a_build_that_was_killed(daemon: Daemon, what: str) -> None:
    env = {"IMAGE_TAG": uuid.uuid4().hex, "SECONDS_TO_SLEEP": "600" if what == "skerryd" else "20"}
    with client(daemon, run_app("resumed_image"), env) as program:
        made = _first(program)
        program.until("begun")
        if what == "skerryd":
            daemon.kill()
        else:
            (pid,) = running("buildkitd", "--config", f"/run/skerry/{daemon.instance}/")
            with watch([pid]) as gone:
                os.kill(pid, signal.SIGKILL)
                gone.wait(120)
            # The build goes on with the next buildkitd, which has the first step's result.
            assert f"has {made}" in program.finish()
    if what == "skerryd":
        daemon.start()
        with client(daemon, run_app("resumed_image"), {**env, "SECONDS_TO_SLEEP": "0"}) as program:
            assert f"has {made}" in program.finish()


def test_builders_on_other_hosts_have_volumes(builders: tuple[Daemon, list[Daemon]]) -> None:
    gateway, made = builders
    tag = uuid.uuid4().hex
    with client(gateway, run_app("volume_image"), {"TAG": tag}) as program:
        output = program.finish()
    assert f"  weights of {tag}more" in output and "left in the image []" in output, output
    assert any(running(" volumes {", str(builder.data)) for builder in made), "no builder has served a volume"
