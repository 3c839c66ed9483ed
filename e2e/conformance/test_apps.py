"""Section 12: apps, deployments, versions."""

import json
import threading

import pytest
import skerry

from e2e.conformance.apps import deployed
from e2e.conformance.lines import line
from e2e.daemon import Daemon

NAME = "conformance-deployed"


@pytest.fixture
def two_versions(daemon: Daemon) -> None:
    """The app in two versions, of which the second is current."""
    deployed.version(1).deploy()
    deployed.version(2).deploy(tag="second")


@line("12 apps", "Redeploy: new version number; lookups see the newest.")
@pytest.mark.usefixtures("two_versions")
def test_newest_version_answers() -> None:
    assert skerry.Function.from_name(NAME, "answer").remote() == 2


@line("12 apps", "Objects missing from the new layout are removed.")
@pytest.mark.usefixtures("two_versions")
def test_functions_of_old_versions_are_gone() -> None:
    with pytest.raises(skerry.exception.NotFoundError, match="only_first"):
        skerry.Function.from_name(NAME, "only_first").remote()


@line("2 Function", "from_name(version=): pins a deployment number.")
@pytest.mark.usefixtures("two_versions")
def test_pinned_version(daemon: Daemon) -> None:
    history = json.loads(daemon.skerry("app", "history", NAME, "--json").stdout)
    newest = int(str(history[0]["version"]).removeprefix("v"))
    assert skerry.Function.from_name(NAME, "answer", version=newest - 1).remote() == 1
    assert skerry.Function.from_name(NAME, "answer", version=newest).remote() == 2
    with pytest.raises(skerry.exception.NotFoundError):
        skerry.Function.from_name(NAME, "answer", version=newest + 100).remote()


@line("12 apps", "Rollback = new version with old layout; rollover = same layout, new containers.")
@pytest.mark.usefixtures("two_versions")
def test_rollback_and_rollover(daemon: Daemon) -> None:
    answer = skerry.Function.from_name(NAME, "answer")
    daemon.skerry("app", "rollback", NAME)
    assert answer.remote() == 1
    daemon.skerry("app", "rollover", NAME)
    assert answer.remote() == 1
    history = json.loads(daemon.skerry("app", "history", NAME, "--json").stdout)
    assert len(history) >= 4


@line("12 apps", "Deployment skipped: no changes detected.")
def test_deploying_the_same_again(daemon: Daemon) -> None:
    deployed.including.deploy()
    before = len(json.loads(daemon.skerry("app", "history", "conformance-including", "--json").stdout))
    deployed.including.deploy()
    assert len(json.loads(daemon.skerry("app", "history", "conformance-including", "--json").stdout)) == before


@line("12 apps", "include(): copies functions; own tags override.")
def test_included_functions() -> None:
    with deployed.including.run() as app:
        assert deployed.three.remote() == 3
        assert app.get_tags() == {"from": "included", "both": "own"}


@line("12 apps", "App tags: set_tags replaces.")
def test_tags() -> None:
    with deployed.app.run() as app:
        app.set_tags({"a": "1"})
        app.set_tags({"b": "2"})
        assert app.get_tags() == {"b": "2"}


@line("12 apps", "Nested or duplicate run: InvalidError 'App is already running'.")
def test_running_twice() -> None:
    with deployed.app.run(), pytest.raises(skerry.exception.InvalidError, match="already running"), deployed.app.run():
        pass


@line("12 apps", "Ephemeral app stops on exit; its functions are gone.")
def test_ephemeral_app_ends() -> None:
    with deployed.app.run() as app:
        assert deployed.one.remote() == 1
        assert app.app_id is not None
    with pytest.raises(skerry.exception.Error):
        deployed.one.remote()


@line("1 App", "App.lookup: handle to deployed app; creates if asked; else NotFoundError.")
def test_lookup() -> None:
    with pytest.raises(skerry.exception.NotFoundError):
        skerry.App.lookup("conformance-not-there")
    made = skerry.App.lookup("conformance-made", create_if_missing=True)
    assert made.app_id == skerry.App.lookup("conformance-made").app_id


@line("12 apps", "Rolling: old containers finish their inputs.")
def test_rolling_deployment_lets_inputs_finish() -> None:
    app = skerry.App("conformance-rolling")

    def wait(seconds: float) -> float:
        import time

        time.sleep(seconds)
        return seconds

    function = app.function(serialized=True, name="wait")(wait)
    app.deploy()
    results: list[float] = []
    running = skerry.Function.from_name("conformance-rolling", "wait")
    running.remote(0)
    thread = threading.Thread(target=lambda: results.append(running.remote(4)))
    thread.start()
    app.set_description("changed")
    again = skerry.App("conformance-rolling")
    again.function(serialized=True, name="wait", timeout=100)(wait)
    again.deploy()
    thread.join()
    assert results == [4]
    assert function.get_raw_f() is wait


@line("12 apps", "app stop: everything of it ends.")
def test_stop(daemon: Daemon) -> None:
    deployed.version(1).deploy()
    daemon.skerry("app", "stop", NAME, "--yes")
    with pytest.raises(skerry.exception.NotFoundError):
        skerry.Function.from_name(NAME, "answer").remote()
