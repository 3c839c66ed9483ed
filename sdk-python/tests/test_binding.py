"""Instances and options on the server: what is asked of it, how often, and what travels in pickles."""

from __future__ import annotations

import asyncio
import pickle
import subprocess

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.function_pb import BindFunctionRequest
from skerry._run import deploy
from skerry.runner import run_app


def an_app():
    app = skerry.App("demo", image=skerry.Image.debian_slim())

    @app.cls(serialized=True)
    class Model:
        size: int = skerry.parameter(default=1)

        @skerry.method()
        def get(self, x):
            return self.size, x

    return app, Model


def bound(server):
    return [BindFunctionRequest.from_binary(bytes.fromhex(data)) for data in server.order()["bound"] or []]


def test_equal_instances_ask_once(server, client):
    app, model = an_app()
    with app.run(client=client):
        for size in (2, 2, 3, 2):
            assert model(size=size).get.remote(5) == ((5,), {})
        requests = bound(server)
        assert [r.parameters[0].value.value for r in requests] == [2, 3]
        assert {r.function_id for r in requests} == {"fu-Model"}


def test_a_function_remembers_the_32_newest_instances(server, client):
    app, model = an_app()
    with app.run(client=client):
        for size in [*range(33), 32, 0]:
            model(size=size).get._ready()
        assert len(bound(server)) == 34
        assert len(model._service._instances) == 32


def test_options_make_their_secrets_once(server, client):
    app, model = an_app()
    with app.run(client=client):
        changed = model.with_options(env={"A": "1"}, max_containers=2)
        for size in (1, 2, 1):
            changed(size=size).get.remote(0)
        assert server.order()["secrets"] == [{"A": "1"}]
        assert [list(r.options.secret_ids) for r in bound(server)] == [["st-1"], ["st-1"]]
        assert bound(server)[0].options.max_containers == 2


def test_ids_of_methods_and_variants(server, client):
    """They are those of what runs them, known from the first use on or by hydrate()."""
    app, model = an_app()
    echo = skerry.Function.from_name("demo", "echo", client=client)
    with app.run(client=client):
        for handle, prefix in (
            (model(size=2).get, "fu-Model-"),
            (echo, "fu-echo"),
            (echo.with_options(timeout=5), "fu-echo-"),
        ):
            assert not handle.is_hydrated
            with pytest.raises(exc.ExecutionError, match=r"hydrate\(\)"):
                _ = handle.object_id
            assert handle.hydrate().object_id.startswith(prefix)
            assert handle.is_hydrated
        assert model(size=2).get.hydrate().object_id == model(size=2)._ready()[1]


def test_methods_that_are_ready_need_no_thread_in_a_loop(server, client, monkeypatch):
    app, model = an_app()

    async def main():
        method = model(size=2).get
        await method.remote.aio(0)
        monkeypatch.setattr(asyncio, "to_thread", None)
        assert await asyncio.gather(*(method.remote.aio(x) for x in range(3))) == [((x,), {}) for x in range(3)]

    with app.run(client=client):
        asyncio.run(main())


def test_handles_arrive_ready(server, client):
    app, model = an_app()
    with app.run(client=client):
        instance = model(size=7)
        _, function_id = instance._ready()
        assert "-" in function_id.removeprefix("fu-")
        copy = pickle.loads(pickle.dumps(instance))
        copy._cls._service._client = client
        assert copy._ready()[1] == function_id
        assert copy.get.name == "get"
        assert len(bound(server)) == 1
        with pytest.raises(exc.NotFoundError, match="nothing"):
            _ = copy.nothing


def test_run_app(server, client):
    app, model = an_app()
    with run_app(app, client=client) as running:
        assert running.app_id
        assert model().get.remote(1) == ((1,), {})


def test_detached_app_outlives_the_connection(server, client, capfd):
    app, _ = an_app()
    with skerry.enable_output(), app.run(client=client, detach=True):
        raise exc.ConnectionError("server is away")
    assert "Connection lost: server is away" in capfd.readouterr().err
    with pytest.raises(exc.ConnectionError), app.run(client=client, detach=True):
        raise exc.ConnectionError("server is away")
    assert server.order()["stopped"] == {}


def test_deployment_that_fails_takes_its_ids_back(server, client):
    app, model = an_app()
    app.image = skerry.Image.debian_slim().run_commands("false")
    with pytest.raises(exc.ImageBuildError):
        app.deploy(client=client)
    assert not model.is_hydrated
    assert len(server.order()["stopped"]) == 1


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key, value in {"NAME": "An Author", "EMAIL": "author@example.com"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    git("init", "-b", "trunk")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "subject")
    return git


def test_commit_of_a_deployment(repository, tmp_path):
    repository("remote", "add", "origin", "https://user:password@example.com/a/b.git")
    commit = deploy.read_commit()
    assert commit is not None
    assert len(commit.commit_hash) == 40
    assert (commit.branch, commit.dirty, commit.author) == ("trunk", False, "An Author")
    assert (commit.author_email, commit.repo_url) == ("author@example.com", "https://example.com/a/b.git")
    assert commit.committed_at is not None
    (tmp_path / "file").write_text("2")
    assert deploy.read_commit().dirty


def test_what_is_too_long_of_a_commit_is_left_out(repository, caplog):
    repository("commit", "--allow-empty", "-m", "x", "--author", "a" * 201 + " <a@example.com>")
    commit = deploy.read_commit()
    assert (commit.author, commit.author_email) == ("", "a@example.com")
    assert "author" in caplog.text


def test_no_commit_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert deploy.read_commit() is None
