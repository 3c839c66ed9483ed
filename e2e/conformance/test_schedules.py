"""Section 17: schedules."""

import datetime
import json
import re
from collections.abc import Generator

import pytest
import skerry

from e2e.client import client
from e2e.conformance.apps import deployed
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon

NAME = "conformance-scheduled"


@pytest.fixture
def scheduled(daemon: Daemon) -> Generator[skerry.App]:
    """The deployed app with schedules."""
    yield deployed.scheduled.deploy()
    daemon.skerry("app", "stop", NAME, "--yes")


@line("17 schedules", "A minute-cron fires when the minute has come.")
@pytest.mark.usefixtures("scheduled")
def test_every_minute(daemon: Daemon) -> None:
    """It fires within its minute, and once, also when the daemon is killed after."""
    due = _next_run(daemon, "every_minute")
    with client(daemon, [str(SKERRY), "app", "logs", NAME, "-f"]) as logs:
        logs.until(f"the minute has come: {due:%H:%M}", seconds=100)
    daemon.kill()
    daemon.start()
    assert _next_run(daemon, "every_minute") > due
    with client(daemon, [str(SKERRY), "app", "logs", NAME, "-f"]) as logs:
        # What is called by hand now comes behind what the start may have called again.
        daemon.skerry("schedule", "run", NAME, "every_day")
        logs.until("the day has come")
    fired = re.findall(r"the minute has come: (\d\d:\d\d)", daemon.skerry("app", "logs", NAME, "--since", "10m").stdout)
    assert f"{due:%H:%M}" in fired
    assert len(set(fired)) == len(fired), f"a minute came twice: {fired}"


def _next_run(daemon: Daemon, function: str) -> datetime.datetime:
    rows = json.loads(daemon.skerry("schedule", "list", "--json").stdout)
    text = next(row["next_run"] for row in rows if row["app_name"] == NAME and row["function"] == function)
    return datetime.datetime.fromisoformat(text).astimezone(datetime.timezone.utc)


@line("17 schedules", "The next run is visible; run by hand.")
@pytest.mark.usefixtures("scheduled")
def test_list_and_run_by_hand(daemon: Daemon) -> None:
    listed = {row["function"]: row for row in json.loads(daemon.skerry("schedule", "list", "--json").stdout)}
    assert set(listed) == {"every_minute", "every_day"}
    due = datetime.datetime.fromisoformat(listed["every_day"]["next_run"])
    assert datetime.timedelta(hours=23) < due - datetime.datetime.now(datetime.timezone.utc) <= datetime.timedelta(days=1)
    with client(daemon, [str(SKERRY), "app", "logs", NAME, "-f"]) as logs:
        daemon.skerry("schedule", "run", NAME, "every_day")
        logs.until("the day has come")


@line("17 schedules", "Active only for DEPLOYED apps.")
def test_running_apps_have_no_schedules(daemon: Daemon) -> None:
    with deployed.scheduled.run():
        assert json.loads(daemon.skerry("schedule", "list", "--json").stdout) == []
