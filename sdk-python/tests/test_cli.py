"""The command line: what its options ask for, and what is not there yet. Runs and deployments are in test_run.py."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
import typer
from protobuf import Oneof

import skerry
from skerry._gen.skerry.v1.log_pb import LogSource
from skerry._gen.skerry.v1.schedule_pb import Cron, Period, Schedule
from skerry.cli.changelog import parse
from skerry.cli.later import LATER
from skerry.cli.logs import logs_request
from skerry.cli.root import run_command
from skerry.cli.schedules import describe

NOTHING = {"following": False, "since": None, "until": None, "tail": None, "search": "", "source": None}


@pytest.mark.parametrize(
    "command",
    [[later.name, *command.split()] for later in LATER for command in later.commands or ("",)]
    + [["app", "dashboard", "x"], ["app", "promote", "x", "v1"]],
    ids=" ".join,
)
def test_commands_that_are_not_there_yet_say_so(command, capsys):
    assert run_command([*command, "some", "--argument=1", "-x"]) == 1
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    named = [word for word in command if word not in ("x", "v1")]
    assert f"`skerry {' '.join(named)}` is not available in this version of skerry yet" in shown


def test_commands_that_do_not_exist_are_usage_errors(capsys):
    assert run_command(["nonsense"]) == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["app rollback", "shell", "schedule list"])
def test_usage_marks_what_may_be_left_out_once(command, capsys):
    assert run_command([*command.split(), "--help"]) == 0
    assert "[[" not in capsys.readouterr().out


def test_local_path_of_a_shell_that_is_not_there(capsys):
    assert run_command(["shell", "--add-local", "no/such/file"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_default_logs():
    request = logs_request(**NOTHING)
    assert (request.follow, request.tail, request.since, request.until) == (False, 100, None, None)
    assert request.source == LogSource.UNSPECIFIED


def test_log_ranges():
    before = datetime.now(timezone.utc)
    request = logs_request(**{**NOTHING, "since": "2h", "until": "10m", "source": "stderr"})
    assert request.since is not None
    assert request.until is not None
    assert abs(request.since.seconds - (before - timedelta(hours=2)).timestamp()) < 60
    assert request.until.seconds - request.since.seconds == 110 * 60
    assert (request.tail, request.source) == (0, LogSource.STDERR)
    request = logs_request(
        **{**NOTHING, "since": "2026-01-31T12:00:00+01:00", "until": "2026-02-01T00:00:00Z", "tail": 5}
    )
    assert request.since is not None
    assert request.since.seconds == datetime(2026, 1, 31, 11, tzinfo=timezone.utc).timestamp()
    assert request.tail == 5
    assert logs_request(**NOTHING, everything=True).tail == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"following": True, "since": "1h"}, "--follow"),
        ({"following": True, "until": "1h"}, "--follow"),
        ({"following": True, "tail": 3}, "--follow"),
        ({"everything": True, "tail": 3}, "--all"),
        ({"since": "soon"}, "how long ago"),
        ({"since": "1h", "until": "2h"}, "not before"),
        ({"since": "36d"}, "35 days"),
        ({"source": "stdin"}, "want stdout, stderr or system"),
    ],
)
def test_log_options_that_make_no_sense(options, words):
    with pytest.raises(typer.BadParameter, match=words):
        logs_request(**{**NOTHING, **options})


def test_schedules_in_words():
    cron = Cron(expression="0 6 * * mon", timezone="Europe/Berlin")
    assert describe(Schedule(kind=Oneof("cron", cron))) == "cron 0 6 * * mon (Europe/Berlin)"
    assert describe(Schedule(kind=Oneof("cron", Cron(expression="* * * * *")))) == "cron * * * * * (UTC)"
    assert describe(Schedule(kind=Oneof("period", Period(days=1, hours=2)))) == "every 1 day 2 hours"
    assert describe(Schedule(kind=Oneof("period", Period(seconds=1.5)))) == "every 1.5 seconds"
    assert describe(None) == ""


def test_changelog(capsys, monkeypatch):
    text = (
        "# Changelog\n\n## 0.3.0 (unreleased)\n\n- c\n\n## 0.2.0 (2026-02-01)\n\n- b\n\n## 0.1.10 (2026-01-01)\n\n- a\n"
    )
    monkeypatch.setattr("skerry.cli.changelog.parse", lambda _: parse(text))

    def versions(*options: str) -> list[str]:
        assert run_command(["changelog", *options, "--json"]) == 0
        return [release["version"] for release in json.loads(capsys.readouterr().out)]

    assert versions() == ["0.3.0"]
    assert versions("--last", "2") == ["0.3.0", "0.2.0"]
    assert versions("--all") == ["0.3.0", "0.2.0", "0.1.10"]
    assert versions("--for", "v0.2.0") == ["0.2.0"]
    assert versions("--since", "0.1.10") == ["0.3.0", "0.2.0"]
    assert versions("--since", "2026-01-15") == ["0.3.0", "0.2.0"]
    assert run_command(["changelog"]) == 0
    assert "0.3.0 (unreleased)" in capsys.readouterr().out
    for bad in (["--last", "1", "--all"], ["--for", "9.9.9"], ["--since", "yesterday"]):
        assert run_command(["changelog", *bad]) == 2


def test_the_changelog_has_this_version(capsys):
    assert run_command(["changelog", "--for", skerry.__version__]) == 0
    assert skerry.__version__ in capsys.readouterr().out


def test_setting_of_a_profile(capsys, tmp_path):
    assert run_command(["config", "set", "logs_timeout", "3"]) == 0
    assert run_command(["config", "set", "token_secret", "hidden"]) == 0
    assert "hidden" not in capsys.readouterr().out
    assert (skerry.config.config.seconds("logs_timeout"), skerry.config.config.get("token_secret")) == (3.0, "hidden")
    assert run_command(["config", "set", "nothing", "3"]) == 2
    assert run_command(["config", "set", "logs_timeout", "soon"]) == 1
    assert run_command(["config", "set", "environment", "en-x"]) == 1
