"""Images as values, and the recipes they become."""

from __future__ import annotations

import sys

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.recipe_pb import Recipe
from skerry._objects.arguments import local_series
from skerry._run.display import Display
from skerry._run.images import Images
from skerry._run.mounts import Mounts
from skerry._run.secrets import Secrets

APP = "ap-" + "0" * 22
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def recipe(client, server):
    def load(image: skerry.Image) -> Recipe:
        display = Display()
        image_id = Images(client, Mounts(client, display), Secrets(client, APP), display).load(image)
        assert image_id.startswith("im-")
        assert image.object_id == image_id
        return Recipe.from_binary(bytes.fromhex(server.order()["recipes"][-1]))

    return load


def kinds(recipe):
    return [step.kind.field for step in recipe.steps]


def test_methods_return_new_images():
    base = skerry.Image.debian_slim()
    more = base.pip_install("numpy")
    assert more is not base
    assert base._steps == ()
    assert base.pip_install() is base
    assert base.apt_install([]) is base
    assert base.run_commands() is base


def test_base_is_the_callers_series(recipe):
    assert recipe(skerry.Image.debian_slim()).base.kind.value.python_version == HERE
    assert recipe(skerry.Image.debian_slim("3.12.4")).base.kind.value.python_version == "3.12"
    with pytest.raises(TypeError):
        skerry.Image.debian_slim(3.12)
    for bad in ("3", "three", "3.x", ""):
        with pytest.raises(exc.InvalidError):
            skerry.Image.debian_slim(bad)


def test_every_step_reaches_the_recipe(recipe, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    image = (
        skerry.Image.debian_slim()
        .apt_install("git", ["curl"])
        .pip_install(
            ["numpy>=2"], "attrs", index_url="https://i", pre=True, extra_options="--no-deps", env={"A": "1", "B": None}
        )
        .uv_pip_install("rich", uv_version="0.5.0", force_build=True)
        .run_commands("echo a", ["echo b"])
        .env({"X": "y"})
        .workdir("/srv/")
        .add_local_file(tmp_path / "a.txt", "/data/", copy=True)
    )
    found = recipe(image)
    assert kinds(found) == [
        "apt_install",
        "pip_install",
        "uv_pip_install",
        "run_commands",
        "env",
        "workdir",
        "add_local",
    ]
    apt, pip, uv, run, env, workdir, add = (step.kind.value for step in found.steps)
    assert list(apt.packages) == ["curl", "git"]
    assert list(pip.packages) == ["attrs", "numpy>=2"]
    assert (pip.options.index_url, pip.options.pre, pip.options.extra_options) == ("https://i", True, "--no-deps")
    assert dict(found.steps[1].build_env) == {"A": "1"}
    assert (uv.uv_version, found.steps[2].force_build) == ("0.5.0", True)
    assert list(run.commands) == ["echo a", "echo b"]
    assert dict(env.variables) == {"X": "y"}
    assert workdir.path == "/srv"
    assert add.remote_path == "/data/a.txt"
    assert add.tree_digest.startswith("sha256:")


def test_equal_images_are_asked_for_once(client, server):
    display = Display()
    images = Images(client, Mounts(client, display), Secrets(client, APP), display)
    assert images.load(skerry.Image.debian_slim().env({"A": "b"})) == images.load(
        skerry.Image.debian_slim().env({"A": "b"})
    )
    assert len(server.order()["recipes"]) == 1


def test_failed_build_shows_the_step(client):
    display = Display()
    images = Images(client, Mounts(client, display), Secrets(client, APP), display)
    with pytest.raises(exc.ImageBuildError) as caught:
        images.load(skerry.Image.debian_slim().run_commands("false"))
    for words in ("a step failed", "command: false", "exit code: 3", "oh no"):
        assert words in str(caught.value)


def test_options_are_no_packages():
    image = skerry.Image.debian_slim()
    for method in (image.pip_install, image.uv_pip_install, image.apt_install):
        with pytest.raises(exc.InvalidError, match="extra_options"):
            method("--quiet")
        with pytest.raises(exc.InvalidError):
            method(3)


def test_mounts_come_last(tmp_path):
    image = skerry.Image.debian_slim().add_local_dir(tmp_path, "/data")
    with pytest.raises(exc.InvalidError, match="copy=True"):
        image.pip_install("numpy")
    assert len(image.add_local_python_source("json")._mounts) == 2


def test_remote_paths_are_absolute(tmp_path):
    image = skerry.Image.debian_slim()
    for bad in (
        lambda: image.add_local_file("a", "b"),
        lambda: image.add_local_dir("a", "b"),
        lambda: image.workdir("b"),
    ):
        with pytest.raises(exc.InvalidError, match="absolute"):
            bad()


def test_environment_is_strings():
    image = skerry.Image.debian_slim()
    for bad in ({"A": 1}, {"SKERRY_X": "1"}, {"1A": "x"}, {"A": None}):
        with pytest.raises(exc.InvalidError):
            image.env(bad)


def test_pipe():
    image = skerry.Image.debian_slim().pipe(lambda image, name: image.env({"NAME": name}), "x")
    assert "NAME" in repr(image)


def test_imports_swallow_locally_and_raise_in_the_container(monkeypatch):
    image = skerry.Image.debian_slim()
    with image.imports():
        import does_not_exist  # noqa: F401
    with pytest.warns(UserWarning, match="ZeroDivisionError"), image.imports():
        raise ZeroDivisionError
    app = skerry.App(image=image)

    @app.function(serialized=True)
    def uses():
        return 1

    assert uses.local() == 1
    monkeypatch.setenv("SKERRY_IS_REMOTE", "1")
    with pytest.raises(ModuleNotFoundError, match="does_not_exist"):
        uses.get_raw_f()


def test_volumes_of_steps(recipe, client):
    image = skerry.Image.debian_slim()
    volume = skerry.Volume.from_id("vo-" + "0" * 22, client)
    found = recipe(
        image.run_commands(
            "true", volumes={"/a": volume.with_mount_options(read_only=True, sub_path="/b")}
        ).run_function(local_series, volumes={"/c": volume})
    )
    seen = [
        (path, each.volume_id, each.read_only, each.sub_path)
        for step in found.steps
        for path, each in step.volumes.items()
    ]
    assert seen == [("/a", "vo-" + "0" * 22, True, "b"), ("/c", "vo-" + "0" * 22, False, "")]
    bucket = skerry.CloudBucketMount("bucket")
    for bad in ({"/a": bucket}, {"/a": 1}, {"a": volume}, {"/root": volume}, {"/a": volume, "/b": volume}):
        with pytest.raises(exc.InvalidError):
            image.run_commands("x", volumes=bad)
        with pytest.raises(exc.InvalidError):
            image.run_function(local_series, volumes=bad)


def test_what_comes_later_says_so():
    image = skerry.Image.debian_slim()
    for later in (lambda: image.run_function(local_series, network_file_systems={"/a": 1}),):
        with pytest.raises(exc.UnimplementedError, match="not available"):
            later()
    with pytest.raises(AttributeError):
        image.nonsense  # noqa: B018
    with pytest.raises(exc.ExecutionError, match="not been built"):
        image.hydrate()
