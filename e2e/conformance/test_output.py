"""Section 21: what programs and the command line show."""

import pytest

from e2e.client import client
from e2e.conformance.lines import line
from e2e.daemon import ROOT, Daemon

APP = "e2e/conformance/apps/maps.py"
PROGRAM = """
import skerry
from e2e.conformance.apps import maps
{before}
with {context}maps.app.run():
    print("result", maps.square.remote(3))
    maps.says.remote()
"""


def _run(daemon: Daemon, before: str = "", context: str = "") -> str:
    argv = [str(ROOT / ".venv/bin/python"), "-c", PROGRAM.format(before=before, context=context)]
    with client(daemon, argv, env={"PYTHONPATH": str(ROOT)}) as program:
        return "\n".join(program.finish())


@line("21 logs", "Progress: initialized, created objects, each function, and the end; as plain lines where there is no terminal.")
def test_lines_of_a_run(daemon: Daemon) -> None:
    done = daemon.skerry("run", f"{APP}::one")
    for words in ("✓ Initialized", "✓ Created objects", "Created function one", "✓ App completed"):
        assert words in done.stderr
    assert "\x1b[" not in done.stdout + done.stderr


@line("21 logs", "-q hides progress, not what functions print.")
def test_quiet_run(daemon: Daemon) -> None:
    done = daemon.skerry("run", "-q", f"{APP}::says")
    assert "it says this" in done.stdout
    assert "Initialized" not in done.stderr


@line("21 logs", "--timestamps: a time in front of each line.")
def test_timestamps(daemon: Daemon) -> None:
    printed = daemon.skerry("run", "-q", "--timestamps", f"{APP}::says").stdout
    (said,) = (text for text in printed.splitlines() if "it says this" in text)
    assert said.split()[0][:2].isdigit()


@line("21 logs", "Without output enabled everything is silent.")
def test_silent_program(daemon: Daemon) -> None:
    assert _run(daemon) == "result 9"


@line("21 logs", "enable_output() shows progress and output of functions; it can be nested.")
@pytest.mark.parametrize("context", ["skerry.enable_output(), ", "skerry.enable_output(), skerry.enable_output(), "])
def test_program_with_output(daemon: Daemon, context: str) -> None:
    printed = _run(daemon, context=context)
    assert "result 9" in printed and "✓ Initialized" in printed
    assert printed.count("it says this") == 1


@line("12 apps", "The description of a run: the app's name, or the command.")
def test_description(daemon: Daemon) -> None:
    listed = daemon.skerry("app", "list", "--json").stdout
    assert "maps.py" in listed or "conformance-maps" in listed


@line("3 tracebacks", "The command line shows the user's frames, here and in the container, and exits with 1.")
def test_traceback_of_the_command_line(daemon: Daemon) -> None:
    done = daemon.skerry("run", f"{APP}::odd_fails", "--x", "3", check=False)
    assert done.returncode == 1
    assert "odd 3" in done.stderr and "raise ValueError" in done.stderr
    assert "_client" not in done.stderr
