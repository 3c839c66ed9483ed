"""The builder methods of images: what reaches the recipe, and what they refuse."""

from __future__ import annotations

import inspect

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.recipe_pb import Recipe
from skerry._run.display import Display
from skerry._run.images import Images
from skerry._run.mounts import Mounts
from skerry._run.secrets import Secrets

APP = "ap-" + "0" * 22
SECRET = skerry.Secret.from_dict({"GITHUB_TOKEN": "x"})


def slim() -> skerry.Image:
    return skerry.Image.debian_slim("3.11")


@pytest.fixture
def recipe(client, server):
    def load(image: skerry.Image) -> Recipe:
        display = Display()
        Images(client, Mounts(client, display), Secrets(client, APP), display).load(image)
        return Recipe.from_binary(bytes.fromhex(server.order()["recipes"][-1]))

    return load


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["six"]\n[project.optional-dependencies]\ndev = ["toolz"]\n'
    )
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "poetry.lock").write_text("")
    (tmp_path / "spec.yaml").write_text("")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY requirements.txt /\n")
    return tmp_path


def test_bases(recipe, project):
    found = recipe(
        skerry.Image.from_registry("ubuntu:24.04", SECRET, add_python="3.12", setup_dockerfile_commands=["RUN true"])
    )
    base = found.base.kind.value
    assert (base.reference, base.credentials, base.add_python) == ("ubuntu:24.04", 1, "3.12")
    assert base.secret_id.startswith("st-")
    assert list(base.setup_commands) == ["RUN true"]
    assert recipe(skerry.Image.from_registry("ubuntu")).base.kind.value.credentials == 0
    assert recipe(skerry.Image.from_aws_ecr("a/b", SECRET)).base.kind.value.credentials == 2
    assert recipe(skerry.Image.from_gcp_artifact_registry("a/b", SECRET)).base.kind.value.credentials == 3
    assert recipe(skerry.Image.from_scratch()).base.kind.field == "scratch"
    assert recipe(skerry.Image.micromamba("3.12.1", force_build=True)).base.kind.value.python_version == "3.12"
    assert recipe(skerry.Image.from_id("im-" + "0" * 22)).base.kind.field == "existing"
    found = recipe(
        skerry.Image.from_dockerfile(
            "Dockerfile", build_args={"A": "b"}, env={"C": "d"}, secrets=[SECRET], force_build=True
        )
    )
    base = found.base.kind.value
    assert base.text.startswith("FROM scratch")
    assert base.context_tree_digest.startswith("sha256:")
    assert (dict(base.build_args), dict(base.build_env), found.base.force_build) == ({"A": "b"}, {"C": "d"}, True)
    assert len(base.secret_ids) == 1


def test_installers(recipe, project):
    image = (
        slim()
        .pip_install_from_requirements("requirements.txt", pre=True)
        .pip_install_from_pyproject("pyproject.toml", ["dev"])
        .pip_install_private_repos("github.com/o/r@main", git_user="me", secrets=[SECRET])
        .uv_pip_install(requirements=["requirements.txt"])
        .uv_sync(groups=["dev"], extras=["dev"])
        .poetry_install_from_file("pyproject.toml", with_=["dev"], poetry_version=None)
        .micromamba_install("curl", spec_file="spec.yaml", channels=["conda-forge"])
    )
    file, toml, private, uv, sync, poetry, mamba = (step.kind.value for step in recipe(image).steps)
    assert file.tree_digest.startswith("sha256:")
    assert file.options.pre
    assert list(toml.packages) == ["six", "toolz"]
    assert (list(private.repositories), private.git_user) == (["github.com/o/r@main"], "me")
    assert list(uv.requirements_files) == ["0.txt"]
    assert (list(sync.groups), list(sync.extras), sync.locked, sync.frozen) == (["dev"], ["dev"], False, False)
    assert (list(poetry.with_), poetry.poetry_version) == (["dev"], "")
    assert (list(mamba.packages), list(mamba.channels), mamba.spec_file) == (["curl"], ["conda-forge"], "spec.yaml")


def test_system(recipe, project):
    image = (
        slim()
        .dockerfile_commands(
            "COPY requirements.txt /a", ["RUN true"], context_files={"/b": "spec.yaml"}, build_args={"X": "y"}
        )
        .entrypoint(["/e"])
        .shell(["/bin/bash", "-c"])
        .cmd(["sleep", "1"])
        .run_commands("true", secrets=[SECRET], gpu="T4")
    )
    found = recipe(image)
    commands, entrypoint, shell, cmd, _ = (step.kind.value for step in found.steps)
    assert list(commands.commands) == ["COPY requirements.txt /a", "RUN true"]
    assert commands.context_tree_digest.startswith("sha256:")
    assert dict(commands.build_args) == {"X": "y"}
    assert list(entrypoint.command) == ["/e"]
    assert list(shell.command) == ["/bin/bash", "-c"]
    assert list(cmd.command) == ["sleep", "1"]
    assert (len(found.steps[4].secret_ids), found.steps[4].gpu) == (1, "T4")


def test_files_are_read_when_the_image_is_built(recipe, project):
    for image, error in (
        (slim().pip_install_from_requirements("no.txt"), FileNotFoundError),
        (slim().uv_sync("no"), exc.NotFoundError),
        (slim().poetry_install_from_file("pyproject.toml", "no.lock"), exc.NotFoundError),
        (slim().pip_install_from_pyproject("pyproject.toml", ["no"]), ValueError),
        (skerry.Image.from_dockerfile("no"), FileNotFoundError),
    ):
        with pytest.raises(error):
            recipe(image)
    (project / "pyproject.toml").write_text("[tool.uv.workspace]\nmembers = []\n")
    with pytest.raises(exc.InvalidError, match="workspace"):
        recipe(slim().uv_sync())
    with pytest.raises(ValueError, match="dependencies"):
        recipe(slim().pip_install_from_pyproject("pyproject.toml"))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: skerry.Image.from_registry("a", add_python="3.12.1"), exc.InvalidError, "add_python"),
        (lambda: skerry.Image.from_registry("a", add_python=3.12), TypeError, "add_python"),
        (lambda: skerry.Image.from_registry(""), exc.InvalidError, "tag"),
        (lambda: skerry.Image.from_aws_ecr("a", secrets=[SECRET]), TypeError, "secrets"),
        (lambda: skerry.Image.from_id("x"), exc.InvalidError, "im-"),
        (lambda: skerry.Image.micromamba(3.12), TypeError, "python_version"),
        (lambda: skerry.Image.from_dockerfile("x", build_args={"a": 1}), exc.InvalidError, "build_args"),
        (lambda: slim().pip_install_private_repos("example.com/a/b", git_user="me"), exc.InvalidError, "github.com"),
        (lambda: slim().pip_install_private_repos("github.com/a/b", git_user="me"), exc.InvalidError, "GITHUB_TOKEN"),
        (lambda: slim().uv_pip_install(requirements="a.txt"), exc.InvalidError, "list"),
        (lambda: slim().uv_sync(groups="dev"), exc.InvalidError, "groups"),
        (lambda: slim().entrypoint("a"), exc.InvalidError, "list"),
        (lambda: slim().shell(None), exc.InvalidError, "list"),
        (lambda: slim().cmd([1]), exc.InvalidError, "list"),
        (lambda: slim().pip_install("a", secrets=[1]), exc.InvalidError, "Secret"),
        (lambda: slim().pip_install("a", gpu=1), exc.InvalidError, "gpu"),
        (lambda: slim().run_commands("a", env=["A"]), exc.InvalidError, "env"),
        (lambda: slim().run_function(lambda: None), exc.InvalidError, "lambda"),
        (lambda: slim().run_function(3), exc.InvalidError, "plain function"),
        (lambda: slim().run_function(slim, timeout=0), exc.InvalidError, "timeout"),
        (lambda: slim().run_function(slim, cpu=-1), exc.InvalidError, "cpu"),
        (lambda: slim().add_local_python_source(3), exc.InvalidError, "names"),
        (lambda: skerry.Image.pip_install("six"), exc.InvalidError, "class"),
        (lambda: skerry.Image.workdir("/x"), exc.InvalidError, "class"),
        (skerry.Image.run_commands, exc.InvalidError, "class"),
    ],
)
def test_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_nothing_to_do_is_the_same_image():
    image = slim()
    for method in (image.uv_pip_install, image.dockerfile_commands, image.micromamba_install):
        assert method() is image
    assert image.pip_install_private_repos(git_user="me") is image


def test_failures_name_the_call(client):
    line = inspect.currentframe().f_lineno + 1
    image = skerry.Image.debian_slim().run_commands("false")
    display = Display()
    images = Images(client, Mounts(client, display), Secrets(client, APP), display)
    with pytest.raises(exc.ImageBuildError, match=f'File "{__file__}", line {line}, in run_commands'):
        images.load(image)
