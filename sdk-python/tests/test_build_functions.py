"""Functions that run in builds: when they run again, and that they run."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import skerry
from skerry import exception as exc
from skerry._objects.steps import Build
from skerry._run.build_functions import describe

RUNNER = Path(skerry.__file__).parent / "_runner" / "build_function.py"


class Settings:
    name = "a"


LIMIT = {"b", "a", "c"}
HANDLE = object()


def uses() -> object:
    return LIMIT, Settings.name, helper()


def helper() -> int:
    return 1


def unreadable() -> object:
    return LOCK


LOCK = threading.Lock()


def digest(raw, *args, **kwargs):
    return describe(raw, args, kwargs, include_source=False, build=Build())["definition_digest"]


def test_what_makes_it_run_again(monkeypatch):
    first = digest(uses)
    assert digest(uses) == first
    assert digest(uses, 1) != first
    assert digest(uses, {"a", "b", "c", "d"}) == digest(uses, {"d", "c", "b", "a"})
    assert digest(helper) != first
    monkeypatch.setattr(Settings, "name", "b")
    changed = digest(uses)
    assert changed != first
    monkeypatch.setitem(globals(), "LIMIT", {"z"})
    assert digest(uses) != changed


def test_a_global_that_can_not_be_pickled_is_left_out():
    with pytest.warns(UserWarning, match="LOCK"):
        digest(unreadable)


def test_large_arguments():
    with pytest.raises(exc.InvalidError, match="2 MiB"):
        describe(helper, (b"x" * (3 << 20),), {}, include_source=False, build=Build())
    with pytest.raises(exc.SerializationError):
        describe(helper, (LOCK,), {}, include_source=False, build=Build())


def run(tmp_path, raw, *args, timeout=60, include_source=True, **kwargs):
    payload = describe(raw, args, kwargs, include_source=include_source, build=Build())["payload"].contents["."]
    half = len(payload) // 2
    (tmp_path / "0").write_bytes(payload[:half])
    (tmp_path / "1").write_bytes(payload[half:])
    code = RUNNER.read_text().replace('"/run/skerry/function"', repr(str(tmp_path / "function")))
    runner = tmp_path / "py" / "skerry" / "_runner" / "build_function.py"
    runner.parent.mkdir(parents=True, exist_ok=True)
    runner.write_text(code)
    return subprocess.run(
        [sys.executable, runner, str(timeout), tmp_path / "0", tmp_path / "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )


def write(path, text="hello", *, fail=False):
    if fail:
        raise ValueError("no")
    Path(path).write_text(text)


def endless():
    while True:
        pass


def test_runs(tmp_path):
    done = run(tmp_path, write, str(tmp_path / "out"), text="bye")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "bye"


def test_runs_one_of_another_function(tmp_path):
    def inner() -> None:
        print("inner")

    done = run(tmp_path, inner)
    assert (done.returncode, done.stdout) == (0, "inner\n"), done.stderr


def test_failures_have_the_users_traceback(tmp_path):
    done = run(tmp_path, write, "x", fail=True)
    assert done.returncode == 1
    assert "ValueError: no" in done.stderr
    assert "build_function.py" not in done.stderr


def test_too_long(tmp_path):
    done = run(tmp_path, endless, timeout=0.5)
    assert done.returncode == 124
    assert "FunctionTimeoutError" in done.stderr
