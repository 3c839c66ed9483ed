"""What is done with images on the server: built, named, found, their logs."""

from __future__ import annotations

import asyncio

import pytest

import skerry
from skerry import exception as exc
from skerry._client.client import shared_client
from skerry.cli.root import run_command
from skerry.config import config


@pytest.fixture
def running(server, monkeypatch):
    """An app on the server."""
    for name, value in (("SERVER_URL", server.url), ("TOKEN_ID", "tk-test"), ("TOKEN_SECRET", "secret")):
        monkeypatch.setenv(f"SKERRY_{name}", value)
    config.reload()
    app = skerry.App("images")
    with shared_client(), app.run():
        yield app


def test_build_publish_and_find(running):
    image = skerry.Image.debian_slim("3.11").env({"A": "b"})
    with pytest.raises(exc.ExecutionError, match="build"):
        image.publish("trainer")
    assert image.build(running) is image
    assert image.object_id is not None
    image.publish("trainer")
    image.publish("main/trainer:v2", experimental_options={"is_public": True})
    found = skerry.Image.from_name("trainer:v2")
    assert found.object_id is None
    assert found.hydrate().object_id == image.object_id
    more = skerry.Image.from_name("trainer").run_commands("true")
    assert more.build(running).object_id != image.object_id
    with pytest.raises(exc.NotFoundError):
        skerry.Image.from_name("nothing").hydrate()
    with pytest.raises(exc.NotFoundError):
        skerry.Image.from_name("nothing").build(running)


@pytest.mark.parametrize("name", ["im-x", "a b", "a:b:c", "a/b/c", "", 3])
def test_names_that_can_not_be(name):
    with pytest.raises(exc.InvalidError):
        skerry.Image.from_name(name)


def test_an_environment_is_named_once(running):
    with pytest.raises(exc.InvalidError, match="environment"):
        skerry.Image.from_name("main/a", environment_name="main")
    image = skerry.Image.debian_slim("3.11").build(running)
    with pytest.raises(exc.InvalidError, match="experimental"):
        image.publish("a", experimental_options={"nonsense": 1})


def test_build_needs_an_app():
    with pytest.raises(exc.InvalidError, match="not on the server"):
        skerry.Image.debian_slim().build(skerry.App("a"))


def test_logs(running):
    image = skerry.Image.debian_slim("3.11")
    with pytest.raises(exc.ExecutionError, match="not been built"):
        list(image.logs.fetch())
    image.build(running)
    assert [str(entry) for entry in image.logs.fetch()] == ["im 1.0\n", "im 1.1\n"]
    assert next(entry.message for entry in image.logs.fetch(None)) == "im 0.0\n"
    assert [entry.message for entry in image.logs.tail(3)] == ["im 0.1\n", "im 1.0\n", "im 1.1\n"]
    (first, *_) = image.logs.fetch()
    assert (first.object_id, first.source, first.timestamp.year) == (image.object_id, "stdout", 1970)
    for bad in (lambda: image.logs.fetch(0), lambda: image.logs.tail(0), lambda: image.logs.tail(20_001)):
        with pytest.raises(exc.LogsFetchError):
            list(bad())

    async def read() -> int:
        return len([entry async for entry in image.logs.tail.aio()] + [entry async for entry in image.logs.fetch.aio()])

    assert asyncio.run(read()) == 6


def test_logs_of_a_failed_build(running):
    image = skerry.Image.debian_slim("3.11").run_commands("false")
    with pytest.raises(exc.ImageBuildError):
        image.build(running)
    assert image.object_id is None
    # The test's server names no image in its failure; a real one does.
    image._failed_id = "im-" + "0" * 22
    assert len(list(image.logs.tail())) == 4


def test_the_commands(running, capsys):
    image = skerry.Image.debian_slim("3.11").build(running)
    capsys.readouterr()
    assert run_command(["image", "logs", str(image.object_id), "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == ["im 0.0", "im 0.1", "im 1.0", "im 1.1"]
    assert run_command(["image", "rm", "im-x"]) == 2  # no terminal to ask on


def test_builder_version(running, monkeypatch):
    for known in ("2025.06", "PREVIEW", "2026.11"):
        monkeypatch.setenv("SKERRY_IMAGE_BUILDER_VERSION", known)
        skerry.Image.debian_slim("3.11").build(running)
    monkeypatch.setenv("SKERRY_IMAGE_BUILDER_VERSION", "1999.01")
    with pytest.raises(exc.VersionError, match="2026"):
        skerry.Image.debian_slim("3.11").build(running)
