"""Section 19: secrets."""

import asyncio
import json
from collections.abc import Generator
from pathlib import Path

import pytest
import skerry
from skerry.exception import AlreadyExistsError, InvalidError, NotFoundError

from e2e.conformance.apps import secrets as apps
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import Daemon

NAME = "conformance-secret"


@pytest.fixture(autouse=True, scope="module")
def named(connected: None, session_daemon: Daemon) -> Generator[None]:
    """The secret of the functions."""
    del connected
    session_daemon.start()
    skerry.Secret.objects.create(NAME, {"NAMED": "first"})
    yield
    skerry.Secret.objects.delete(NAME)


@line("19 secret", "Later secrets override earlier ones; those of the app come first, env comes last.")
@line("19 secret", "Secret.from_name in functions, classes and build steps; required_keys.")
def test_order_and_names(running: Running) -> None:
    with running(apps.app):
        assert apps.variables.remote() == {"ORDER": "function", "APP": "app", "NAMED": "first", "LAST": "env"}
        assert apps.Holder().get.remote() == ("first", "of the build")


@line("19 secret", "from_local_environ is empty in a container; code there changes no secret.")
def test_inside(running: Running) -> None:
    with running(apps.app):
        variables, refused = apps.inside.remote()
    assert variables == {}
    assert "code in containers" in refused


@line("19 secret", "Secret.update merges variables; containers that run keep the old ones, new ones have them.")
def test_update() -> None:
    skerry.Secret.objects.create("conformance-updated", {"A": "1", "B": "1"})
    try:
        secret = skerry.Secret.from_name("conformance-updated")
        app = skerry.App.lookup("conformance-secret-boxes", create_if_missing=True)
        before = skerry.Sandbox.create("sleep", "600", app=app, secrets=[secret])
        secret.update({"B": "2"})
        after = skerry.Sandbox.create("sleep", "600", app=app, secrets=[secret])
        assert before.exec("sh", "-c", "echo $A $B").stdout.read() == "1 1\n"
        assert after.exec("sh", "-c", "echo $A $B").stdout.read() == "1 2\n"
        # A process of its own gets what there is when it starts.
        assert before.exec("sh", "-c", "echo $A $B", secrets=[secret]).stdout.read() == "1 2\n"
        before.terminate()
        after.terminate()
    finally:
        skerry.Secret.objects.delete("conformance-updated")


@line("19 secret", "Secret.objects: create, list, delete; info; a key that is required and missing, a name that nothing has.")
def test_manager() -> None:
    with pytest.raises(AlreadyExistsError, match=NAME):
        skerry.Secret.objects.create(NAME, {"A": "1"})
    skerry.Secret.objects.create(NAME, {"A": "1"}, allow_existing=True)
    assert NAME in [each.name for each in asyncio.run(skerry.Secret.objects.list.aio())]
    info = skerry.Secret.from_name(NAME).info()
    assert info.name == NAME
    assert info.created_by
    with pytest.raises(NotFoundError, match='"MISSING"'):
        skerry.Secret.from_name(NAME, required_keys=["NAMED", "MISSING"]).hydrate()
    with pytest.raises(NotFoundError, match="skerry secret create nothing"):
        skerry.Secret.from_name("nothing").hydrate()
    with pytest.raises(InvalidError, match="no name"):
        skerry.Secret.from_dict({"A": "1"}).update({})


@line("19 secret", "Secret.from_dotenv finds the nearest file from a folder upwards.")
def test_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB='two words'\n")
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    assert repr(skerry.Secret.from_dotenv(folder)) == "skerry.Secret.from_dict([A, B])"
    with pytest.raises(InvalidError, match=r"no \.other"):
        skerry.Secret.from_dotenv(folder, filename=".other")


@line("19 secret", "skerry secret: create by KEY=VALUE, an editor, files; --force; list; delete.")
def test_command_line(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text('{"A": "from json"}')
    name = "conformance-cli"
    daemon.skerry("secret", "create", name, "B=2", "--from-json", str(tmp_path / "values.json"))
    try:
        assert daemon.skerry("secret", "create", name, "C=3", check=False).returncode == 1
        daemon.skerry("secret", "create", name, "C=3", "--force")
        with pytest.raises(NotFoundError, match='"A", "B"'):
            skerry.Secret.from_name(name, required_keys=["A", "B", "C"]).hydrate()
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\nprintf "written\\n# The value of D goes above this line.\\n" > "$1"\n')
        editor.chmod(0o755)
        daemon.env["EDITOR"] = str(editor)
        shown = daemon.skerry("secret", "create", name, "D=-", "--force").stdout
        assert "written" not in shown
        rows = {row["name"]: row for row in json.loads(daemon.skerry("secret", "list", "--json").stdout)}
        assert set(rows[name]) == {"name", "created_at", "created_by", "last_used_at"}
    finally:
        daemon.env.pop("EDITOR", None)
        daemon.skerry("secret", "delete", name, "--yes")
    assert daemon.skerry("secret", "delete", name, "--yes", check=False).returncode == 1
