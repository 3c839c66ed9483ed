"""Terminals that are lent to containers."""

from collections.abc import Iterator

import pytest

from e2e.client import client, run_app
from e2e.daemon import SKERRY, Daemon
from e2e.terminal import terminal

RUN = [str(SKERRY), "run", "-i"]
CTRL_C = "\x03"


def test_function_that_asks(daemon: Daemon) -> None:
    with terminal(daemon, [*RUN, "e2e/apps/interactive.py::talk"]) as shown:
        shown.until("before the terminal")
        shown.until("who is there? ")
        assert shown.is_raw
        shown.press("me\r")
        shown.until("hello me")
        shown.until("App completed.")
        assert shown.end() == 0
        assert not shown.is_raw


def test_terminal_is_lent_again_and_not_at_the_same_time(daemon: Daemon) -> None:
    with terminal(daemon, [*RUN, "e2e/apps/interactive.py::two_calls"]) as shown:
        shown.until("again? ")
        shown.press("yes\r")
        shown.until("the first call has ended")
        shown.until("again? ")
        shown.press("no\r")
        assert shown.end() == 0


def test_breakpoint_opens_the_debugger(daemon: Daemon) -> None:
    with terminal(daemon, [*RUN, "e2e/apps/interactive.py::debug"]) as shown:
        shown.until("(pdb) ")
        shown.press("p secret + 1\r")
        shown.until("42")
        shown.until("(pdb) ")
        shown.press("c\r")
        assert shown.end() == 0


def test_ctrl_c_interrupts_the_code_that_has_the_terminal(daemon: Daemon) -> None:
    with terminal(daemon, [*RUN, "e2e/apps/interactive.py::forever"]) as shown:
        shown.until("sleeping forever")
        shown.press(CTRL_C)
        shown.until("KeyboardInterrupt")
        assert shown.end() == 1
        assert not shown.is_raw


def test_interact_needs_an_interactive_run(daemon: Daemon) -> None:
    done = daemon.skerry("run", "e2e/apps/interactive.py::talk", check=False)
    assert done.returncode == 1
    assert "skerry run -i" in done.stderr


def test_ctrl_c_ends_logs_that_are_followed(daemon: Daemon) -> None:
    with client(daemon, run_app("stay")) as program:
        container = program.until("started in").split()[-1]
        with terminal(daemon, [str(SKERRY), "container", "logs", "-f", container]) as shown:
            shown.until("started in")
            shown.press(CTRL_C)
            assert shown.end(20) == 130


@pytest.fixture
def running(daemon: Daemon) -> Iterator[str]:
    """A sandbox that runs."""
    made = daemon.skerry("sandbox", "create", "--app", "interactive", "--timeout", "600")
    sandbox = made.stdout.split()[-1]
    yield sandbox
    daemon.skerry("sandbox", "terminate", "--yes", sandbox)


@pytest.mark.parametrize("command", [("shell",), ("sandbox", "exec", "--pty")])
def test_terminal_in_a_sandbox(daemon: Daemon, running: str, command: tuple[str, ...]) -> None:
    argv = [str(SKERRY), *command, running, *(["sh"] if command[0] == "sandbox" else [])]
    with terminal(daemon, argv, rows=31, columns=91) as shown:
        shown.until("# ")
        shown.press("stty size; echo $SKERRY_SANDBOX_ID\r")
        shown.until("31 91")
        shown.until(running)
        shown.resize(22, 77)
        shown.press("trap 'stty size' WINCH; while [ \"$(stty size)\" != '22 77' ]; do sleep 0.1; done; echo re''sized\r")
        shown.until("resized")
        shown.press('sh -c \'trap "echo cau""ght; exit" INT; echo rea""dy; while :; do sleep 1; done\'\r')
        shown.until("ready")
        shown.press(CTRL_C)
        shown.until("caught")
        shown.press("exit 7\r")
        assert shown.end() == 7
        assert not shown.is_raw


def test_shell_has_the_terminal_and_its_size(daemon: Daemon) -> None:
    with terminal(daemon, [str(SKERRY), "shell", "e2e/apps/interactive.py::talk"], rows=33, columns=99) as shown:
        shown.until("# ")
        shown.press("stty size; ls\r")
        shown.until("33 99")
        shown.until("interactive.py")
        shown.resize(22, 77)
        shown.press("trap 'stty size' WINCH; stty size; while [ \"$(stty size)\" != '22 77' ]; do read -t 0.1; done; echo re''sized\r")
        shown.until("resized")
        shown.press('sh -c \'trap "echo cau""ght; exit" INT; echo rea""dy; while :; do sleep 1; done\'\r')
        shown.until("ready")
        shown.press(CTRL_C)
        shown.until("caught")
        shown.press("exit 7\r")
        assert shown.end() == 7
        assert not shown.is_raw
