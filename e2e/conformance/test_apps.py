"""Section 12: apps, deployments, versions."""

import json
import threading
from typing import Any

import pytest
import skerry

from e2e.client import client
from e2e.conformance.apps import deployed
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon

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
    daemon.skerry("app", "logs", NAME)  # the name of one that was stopped lately is still known
    never = daemon.skerry("app", "logs", "conformance-never", check=False)
    assert never.returncode == 1 and "is not deployed" in never.stderr


@line("12 apps", "Deployment: a name is needed, from deploy() or the app.")
def test_deploying_without_a_name() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="name"):
        skerry.App().deploy()


@line("12 apps", "recreate: old containers are stopped, and their inputs run again in new ones.")
def test_recreating_deployment(daemon: Daemon) -> None:
    name = "conformance-recreate"
    deployed.waiting(1).deploy(name=name)
    call = skerry.Function.from_name(name, "wait").spawn("/tmp/gate")
    with client(daemon, [str(SKERRY), "app", "logs", name, "-f"]) as logs:
        first = logs.until("waits in").split()[-1]
        deployed.waiting(2).deploy(name=name, strategy="recreate")
        second = logs.until("waits in").split()[-1]
        assert first != second
        daemon.skerry("container", "exec", second, "--", "touch", "/tmp/gate")
        assert call.get(timeout=60) == second
    daemon.skerry("app", "stop", name, "--yes")


@line("12 apps", "A strategy that is neither rolling nor recreate: InvalidError.")
def test_unknown_strategy() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="rolling"):
        skerry.App("conformance-strategy").deploy(strategy="blue-green")


@line("12 apps", "The same function name twice: a logged warning, and the last one counts.")
def test_colliding_names(caplog: pytest.LogCaptureFixture) -> None:
    app = skerry.App("conformance-collision")

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    app.function(serialized=True, name="same")(one)
    function = app.function(serialized=True, name="same")(two)
    assert "function name 'same' collision! Overriding existing function" in caplog.text
    with app.run():
        assert function.remote() == 2


@line("12 apps", "A name that turns from a function into a class gets a fresh id.")
def test_function_that_becomes_a_class(daemon: Daemon) -> None:
    name = "conformance-turned"
    app = skerry.App(name)

    def turned() -> int:
        return 1

    app.function(serialized=True, name="Turned")(turned).get_raw_f()
    app.deploy()
    old = skerry.Function.from_name(name, "Turned").hydrate().object_id
    app = skerry.App(name)

    class Turned:
        @skerry.method()
        def run(self) -> int:
            return 2

    app.cls(serialized=True)(Turned)
    app.deploy()
    turned_class: Any = skerry.Cls.from_name(name, "Turned")
    assert turned_class().run.remote() == 2
    assert turned_class.hydrate().object_id != old
    daemon.skerry("app", "stop", name, "--yes")


@line("12 apps", "Redeployed functions keep their ids.")
@pytest.mark.usefixtures("two_versions")
def test_ids_are_kept() -> None:
    before = skerry.Function.from_name(NAME, "answer").hydrate().object_id
    deployed.version(1).deploy()
    assert skerry.Function.from_name(NAME, "answer").hydrate().object_id == before


@line("12 apps", "History: version, time, tag.")
@pytest.mark.usefixtures("two_versions")
def test_history(daemon: Daemon) -> None:
    history = json.loads(daemon.skerry("app", "history", NAME, "--json").stdout)
    assert history[0]["tag"] == "second"
    assert [row["version"] for row in history] == sorted((row["version"] for row in history), reverse=True)


@line(
    "12 apps",
    "environment_name: an environment of its own.",
    differs='there is one environment so far, "main"; any other is NotFoundError',
)
def test_environments() -> None:
    with pytest.raises(skerry.exception.NotFoundError, match="environment"):
        skerry.App.lookup("conformance-made", environment_name="other")
    with pytest.raises(skerry.exception.InvalidError, match="environment"):
        skerry.App.lookup("conformance-made", environment_name="en-wrong name")


@line("1 App", "app_id is None before; set_tags, get_tags and logs need an app that runs or is deployed.")
def test_app_that_does_not_run() -> None:
    app = skerry.App("conformance-idle")
    assert app.app_id is None and app.name == app.description == "conformance-idle"
    for use in (lambda: app.set_tags({"a": "b"}), app.get_tags, lambda: list(app.logs.tail(1))):
        with pytest.raises(skerry.exception.InvalidError, match="run"):
            use()


@line("1 App", "registered_functions, registered_classes, registered_entrypoints.")
def test_registered_names() -> None:
    assert set(deployed.including.registered_functions) == {"two", "three"}
    assert deployed.including.registered_classes == {} == deployed.including.registered_entrypoints
