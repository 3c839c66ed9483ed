"""What is killed without warning, and what the caller sees of it: nothing."""

import contextlib
import os
import re
import signal

import pytest

from e2e.client import Client, client, run_app
from e2e.daemon import Daemon
from e2e.processes import running, watch


@pytest.mark.parametrize(
    ("entrypoint", "line"), [("mapped", "result"), ("methods", "result"), ("generated", "item"), ("spawned", "spawned")]
)
def test_every_input_and_item_has_one_result_over_a_killed_daemon(daemon: Daemon, full: bool, entrypoint: str, line: str) -> None:
    count = 2000 if full else 300
    with client(daemon, run_app(f"crash::{entrypoint}", "--count", str(count))) as program:
        program.until(f"{line} {count // 3}")
        daemon.kill()
        daemon.start()
        program.until("complete", seconds=600)
        program.finish()


def test_calls_spawned_before_a_kill_finish_after_it(daemon: Daemon) -> None:
    with client(daemon, run_app("crash::spawned", "--count", "100")) as program:
        program.until("spawned 100")
        daemon.kill()
        daemon.start()
        program.until("complete")
        program.finish()


def test_input_of_a_killed_sandbox_runs_again(daemon: Daemon) -> None:
    with client(daemon, run_app("crash::one")) as program:
        first = _container(program)
        # All there are: one that was booted ahead has a name of its own.
        sandbox = running("runsc", f"/run/skerry/{daemon.instance}")
        assert sandbox, f"no runsc process of {first}"
        with watch(sandbox) as gone:
            for pid in sandbox:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            gone.wait(120)
        second = _container(program)
        assert second != first
        daemon.skerry("container", "exec", second, "--", "sh", "-c", "echo go > /tmp/gate")
        program.until("answer 42")
        program.finish()


def _container(program: Client) -> str:
    found = re.search(r"started in (\S+)", program.until("started in"))
    assert found is not None
    return found[1]
