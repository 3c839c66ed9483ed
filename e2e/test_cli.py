"""The life of apps as people see it from the command line."""

import json

from e2e.client import client, run_app
from e2e.daemon import SKERRY, Daemon


def test_deployed_app_from_deploy_to_stop(daemon: Daemon) -> None:
    daemon.skerry("deploy", "e2e/apps/deployed.py")
    daemon.skerry("deploy", "e2e/apps/deployed.py")
    apps = json.loads(daemon.skerry("app", "list", "--json").stdout)
    assert "deployed" in [app["description"] for app in apps]
    history = json.loads(daemon.skerry("app", "history", "deployed", "--json").stdout)
    assert len(history) == 2
    with client(daemon, [str(SKERRY.parent / "python"), "e2e/apps/calls_deployed.py"]) as program:
        assert "answer 42" in program.finish()
    assert "adding one to 41" in daemon.skerry("app", "logs", "deployed").stdout
    daemon.skerry("app", "stop", "deployed", "--yes")
    with client(daemon, [str(SKERRY.parent / "python"), "e2e/apps/calls_deployed.py"]) as program:
        assert program.end() != 0


def test_containers_are_listed_entered_and_stopped(daemon: Daemon) -> None:
    with client(daemon, run_app("stay")) as program:
        container = program.until("started in").split()[-1]
        listed = json.loads(daemon.skerry("container", "list", "--json").stdout)
        assert container in [entry["container_id"] for entry in listed]
        done = daemon.skerry("container", "exec", container, "--", "sh", "-c", "echo inside; exit 5", check=False)
        assert (done.returncode, done.stdout.strip()) == (5, "inside")
        daemon.skerry("container", "stop", container, "--yes")


def test_every_command_has_help(daemon: Daemon) -> None:
    for command in ([], ["run"], ["deploy"], ["app"], ["app", "list"], ["container"], ["config"], ["profile"], ["token"]):
        assert "Usage" in daemon.skerry(*command, "--help").stdout
