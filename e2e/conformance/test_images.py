"""Sections 7, 13 and 14: images."""

import inspect
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import skerry
import skerry.experimental

from e2e.conformance.apps import images
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line

STAMP = "date +%s%N > /stamp"


@pytest.fixture(scope="module")
def app(running: Running) -> Iterator[skerry.App]:
    """An app that has images built."""
    with running(skerry.App("conformance-images")) as app:
        yield app


@pytest.fixture
def slim() -> skerry.Image:
    """An image that nobody has built before."""
    return skerry.Image.debian_slim().env({"TAG": uuid.uuid4().hex})


def said(image: skerry.Image, app: skerry.App, layers: int = 1) -> list[str]:
    """Build an image and return what its last layers said."""
    return [entry.message.rstrip("\n") for entry in image.build(app).logs.fetch(layers)]


@line("14 images", "Any change in a layer rebuilds it and all later ones, and none before it.")
@line("14 images", "What an image is follows from its definition: an equal one is the same image, built once.")
@line("7 Image", "build(app): now; returns the image.")
def test_layers_are_built_once(app: skerry.App, slim: skerry.Image) -> None:
    stamped = slim.run_commands(STAMP)
    one, other = said(stamped.run_commands("cat /stamp"), app), said(stamped.run_commands("cat  /stamp"), app)
    assert one == other
    assert said(stamped.env({"A": "b"}).run_commands(STAMP, "cat /stamp"), app) != one
    assert stamped.build(app).object_id == slim.run_commands(STAMP).build(app).object_id


@line("14 images", "force_build reaches descendants; FORCE_BUILD=1 builds all; IGNORE_CACHE=1 leaves what is there.")
def test_building_again(app: skerry.App, slim: skerry.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    image = slim.run_commands(STAMP).run_commands("cat /stamp")
    first = said(image, app)
    forced = slim.run_commands(STAMP, force_build=True).run_commands("cat /stamp")
    second = said(forced, app)
    assert second != first
    assert forced.object_id == image.object_id
    monkeypatch.setenv("SKERRY_IGNORE_CACHE", "1")
    apart = slim.run_commands(STAMP).run_commands("cat /stamp")
    assert said(apart, app) not in (first, second)
    assert apart.object_id != image.object_id
    monkeypatch.delenv("SKERRY_IGNORE_CACHE")
    assert said(image, app) == second


@line(
    "14 images",
    "Secrets of a step are referred to by id: another value rebuilds nothing.",
    differs="by the names of their variables: a secret of an app has another id in each run",
)
@line("7 Image", "env and secrets of a step are there during that step only.")
def test_secrets_and_variables_of_a_step(app: skerry.App, slim: skerry.Image) -> None:
    def image(value: str) -> skerry.Image:
        secrets = [skerry.Secret.from_dict({"TOKEN": value})]
        step = slim.run_commands('test -n "$TOKEN" && test "$ONLY" = here', secrets=secrets, env={"ONLY": "here"})
        return step.run_commands('echo "${TOKEN-none} ${ONLY-none}"')

    one = image("first-secret-value")
    assert said(one, app, 2) == ["none none"]
    assert image("second-secret-value").build(app).object_id == one.object_id


@line("7 Image", "run_function: a function runs during the build, and what it leaves is kept.")
@line("14 images", "run_function has the function's module, its arguments and secrets; is_local() is false.")
def test_functions_in_builds(app: skerry.App, slim: skerry.Image) -> None:
    image = slim.run_function(images.write, args=("/written",), kwargs={"end": "!"}).run_commands(
        "cat /written; test ! -e /__skerry; cd /root; ls"
    )
    assert said(image, app, 2) == ["not local", "written by a function!"]
    with pytest.raises(skerry.exception.ImageBuildError, match="ValueError: on purpose"):
        slim.run_function(images.fail).build(app)


@line("7 Image", "dockerfile_commands and from_dockerfile: context, build arguments, several stages.")
@line("13 sources", "Of a Dockerfile's context, what COPY names and .dockerignore does not leave out is sent.")
def test_dockerfiles(app: skerry.App, slim: skerry.Image, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("b.txt\n")
    image = slim.dockerfile_commands(
        "ARG WHO",
        "ENV FROM_DOCKERFILE=$WHO",
        "COPY . /context",
        "COPY given.txt /given.txt",
        context_dir=tmp_path,
        context_files={"/given.txt": str(tmp_path / "b.txt")},
        build_args={"WHO": "argument"},
    ).run_commands('ls -A /context; cat /given.txt; echo " $FROM_DOCKERFILE"')
    assert said(image, app) == [".dockerignore", "a.txt", "given.txt", "b.txt argument"]
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch AS one\nCOPY a.txt /x/\nFROM scratch\nCOPY --from=one /x /y\n")
    assert skerry.Image.from_dockerfile(dockerfile, context_dir=tmp_path).build(app).object_id
    with pytest.raises(skerry.exception.ImageBuildError, match=r"a\.txt"):
        skerry.Image.from_dockerfile(dockerfile, context_dir=tmp_path, ignore=["a.txt"]).build(app)
    dockerfile.write_text("FROM scratch\nNONSENSE\n")
    with pytest.raises(skerry.exception.ImageBuildError, match="line 2"):
        skerry.Image.from_dockerfile(dockerfile).build(app)


@line("7 Image", "entrypoint, shell, cmd, workdir and env: what later steps and containers run with.")
def test_how_steps_run(app: skerry.App, slim: skerry.Image) -> None:
    image = (
        slim.shell(["/bin/bash", "-c"])
        .workdir("/srv/x")
        .env({"QUOTED": 'it\'s "a" $b'})
        .entrypoint(["/usr/bin/env"])
        .cmd(["true"])
        .run_commands('[[ $PWD == /srv/x ]] && echo "$QUOTED"')
    )
    assert said(image, app) == ['it\'s "a" $b']


@line("13 sources", "add_local_* with copy=True: the content is a layer.")
@line("13 sources", "Symlinked files are sent as what they point to.")
@line("13 sources", "add_local_* without copy=True come last: a later step is an InvalidError that suggests it.")
def test_local_files(app: skerry.App, slim: skerry.Image, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    with pytest.raises(skerry.exception.InvalidError, match="copy=True"):
        slim.add_local_dir(tmp_path, "/data").run_commands("true")

    def image() -> skerry.Image:
        return slim.add_local_dir(tmp_path, "/data", copy=True).run_commands("cat /data/link.txt; stat -c %F /data/link.txt")

    one = image()
    assert said(one, app) == ["oneregular file"]
    (tmp_path / "a.txt").write_text("two")
    assert said(image(), app) == ["tworegular file"]


@line("14 images", "A failed build: ImageBuildError, with the call in the user's file; its log can be read.")
@line("7 Image", "logs.fetch and logs.tail work after a failed build.")
def test_failures(app: skerry.App, slim: skerry.Image) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    here = frame.f_lineno + 1
    image = slim.run_commands("echo before the end; exit 7").run_commands("true")
    with pytest.raises(skerry.exception.ImageBuildError) as caught:
        image.build(app)
    assert f'File "{__file__}", line {here}, in run_commands(' in str(caught.value)
    assert "exit code: 7" in str(caught.value)
    assert [entry.message for entry in image.logs.tail(1)] == ["before the end\n"]
    assert image.object_id is None


@line("7 Image", "publish(name:tag), from_name, from_id: steps may follow.")
def test_names(app: skerry.App, slim: skerry.Image) -> None:
    name = f"conformance-{uuid.uuid4().hex[:8]}"
    image = slim.run_commands(STAMP, "cat /stamp")
    stamp = said(image, app)
    image.publish(f"{name}:v1")
    found = skerry.Image.from_name(f"{name}:v1")
    assert found.hydrate().object_id == image.object_id
    assert said(found.run_commands("cat /stamp; true"), app) == stamp
    assert skerry.Image.from_id(str(image.object_id)).build(app).object_id == image.object_id
    with pytest.raises(skerry.exception.NotFoundError, match=name):
        skerry.Image.from_name(name).hydrate()
    image_id = str(image.object_id)
    with pytest.raises(skerry.exception.ConflictError, match=name):
        skerry.experimental.image_delete(image_id)
    slim.build(app).publish(f"{name}:v1")
    skerry.experimental.image_delete(image_id)
    with pytest.raises(skerry.exception.NotFoundError):
        skerry.Image.from_id(image_id).run_commands("true").build(app)
