"""Section 10: environments, which are namespaces of everything that has a name."""

import asyncio
import json
from collections.abc import Generator

import pytest
import skerry
from skerry.exception import AlreadyExistsError, InvalidError, NotFoundError, PermissionDeniedError, UnimplementedError

from e2e.conformance.apps import environments
from e2e.conformance.lines import line
from e2e.daemon import Daemon

APP = "conformance-environments"


@pytest.fixture
def other(reachable: None) -> Generator[str]:
    """An environment for one test."""
    del reachable
    skerry.Environment.objects.create("conformance-other")
    yield "conformance-other"
    for name in ("conformance-other", "conformance-renamed"):
        if name in [each.name for each in skerry.Environment.objects.list()]:
            skerry.Environment.objects.delete(name)


def _call(name: str, environment: str, *args: str) -> object:
    return skerry.Function.from_name(APP, name, environment_name=environment).remote(*args)


@line("10 administration", "Environment: from_name is lazy, with create_if_missing; from_context is the one in use; name, object_id.")
def test_handles(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert skerry.Environment.from_context().name == "main"
    handle = skerry.Environment.from_name(other)
    assert not handle.is_hydrated
    assert handle.hydrate().object_id.startswith("en-")
    monkeypatch.setenv("SKERRY_ENVIRONMENT", other)
    assert skerry.Environment.from_context().name == other
    with pytest.raises(NotFoundError, match="skerry environment create nowhere"):
        skerry.Environment.from_name("nowhere").hydrate()
    try:
        made = skerry.Environment.from_name("conformance-made", create_if_missing=True).hydrate()
        assert skerry.Environment.from_name("conformance-made").hydrate().object_id == made.object_id
    finally:
        skerry.Environment.objects.delete("conformance-made")
    with pytest.raises(InvalidError, match="environment name"):
        skerry.Environment.from_name("en-x")


@line("10 administration", "Environment.objects: create, list, delete; what is there is not made again.")
def test_manager(other: str) -> None:
    assert {"main", other} <= {each.name for each in asyncio.run(skerry.Environment.objects.list.aio())}
    with pytest.raises(AlreadyExistsError, match=other):
        skerry.Environment.objects.create(other)
    with pytest.raises(NotFoundError, match="nowhere"):
        skerry.Environment.objects.delete("nowhere")
    with pytest.raises(UnimplementedError, match="skerryd token new --environment"):
        skerry.Environment.from_name(other).roles.list()


@line("12 apps", "The same names mean other things in each environment; code sees those of its own.")
def test_namespaces_and_renames(other: str) -> None:
    environments.app.deploy()
    environments.app.deploy(environment_name=other)
    assert _call("whereabouts", "main") == ("main", "main", "main")
    assert _call("whereabouts", other) == (other, other, other)
    with pytest.raises(NotFoundError, match="sees its own only"):
        _call("call_in", "main", other)

    with pytest.raises(NotFoundError, match="skerry environment create nowhere"):
        _call("word", "nowhere")


@line("10 administration", "A rename carries along what is in an environment, and what runs.")
def test_rename(other: str, daemon: Daemon) -> None:
    environments.app.deploy(environment_name=other)
    app = skerry.App.lookup("conformance-environment-box", create_if_missing=True, environment_name=other)
    box = skerry.Sandbox.create("sleep", "600", app=app, name="box")
    assert _call("whereabouts", other) == (other, other, other)
    daemon.skerry("environment", "update", other, "--set-name", "conformance-renamed")
    # The container goes on, and what it was told at its start is of no account.
    assert _call("whereabouts", "conformance-renamed") == (other, "conformance-renamed", "conformance-renamed")
    assert skerry.Sandbox.from_name("conformance-environment-box", "box", environment_name="conformance-renamed").object_id == box.object_id
    with pytest.raises(NotFoundError, match=other):
        _call("word", other)


@line("10 administration", "Deleting an environment removes all that is in it.")
def test_delete(other: str) -> None:
    environments.app.deploy(environment_name=other)
    app = skerry.App.lookup("conformance-environment-box", create_if_missing=True, environment_name=other)
    box = skerry.Sandbox.create("sleep", "600", app=app)
    skerry.Environment.objects.delete(other)
    assert box.poll() is not None
    skerry.Environment.objects.create(other)
    with pytest.raises(NotFoundError):
        _call("word", other)


@line("10 administration", "skerry environment create, list, update, delete; --env of commands.")
def test_command_line(daemon: Daemon) -> None:
    daemon.skerry("environment", "create", "conformance-cli")
    try:
        rows = {row["name"]: row for row in json.loads(daemon.skerry("environment", "list", "--json").stdout)}
        assert rows["main"]["active"] is True
        assert rows["conformance-cli"]["active"] is False
        assert "conformance-cli" in daemon.skerry("environment", "list").stdout
        refused = daemon.skerry("environment", "delete", "conformance-cli", check=False)
        assert refused.returncode == 2
        assert "--yes" in refused.stderr
        assert daemon.skerry("app", "list", "--env", "nowhere", check=False).returncode == 1
        assert json.loads(daemon.skerry("app", "list", "--env", "conformance-cli", "--json").stdout) == []
    finally:
        daemon.skerry("environment", "delete", "conformance-cli", "--yes")
    assert "not available" in daemon.skerry("environment", "roles", "list", "main", check=False).stderr


@line(
    "10 administration",
    "Members and their roles in an environment.",
    differs="tokens that are limited to environments; roles are not there yet",
)
def test_token_of_one_environment(other: str, daemon: Daemon, profile: dict[str, str]) -> None:
    """It sees its environment as if it were all there is."""
    environments.app.deploy()
    environments.app.deploy(environment_name=other)
    printed = daemon.command("token", "new", "--name", "ci", "--environment", other)
    token_id, secret = (text.partition("=")[2].strip() for text in printed.splitlines())
    with skerry.Client(profile["server_url"], token_id, secret) as client:
        word = skerry.Function.from_name(APP, "word", client=client)
        assert word.remote() == other
        assert [each.name for each in skerry.Environment.objects.list(client=client)] == [other]
        with pytest.raises(PermissionDeniedError, match="opens conformance-other only"):
            skerry.Function.from_name(APP, "word", environment_name="main", client=client).hydrate()
        with pytest.raises(PermissionDeniedError, match="all environments"):
            skerry.Environment.objects.create("conformance-more", client=client)
