"""Which files a Dockerfile's instructions need."""

from __future__ import annotations

import pytest

from skerry._objects.patterns import AUTO_DOCKERIGNORE, FilePatternMatcher
from skerry._run.context import copied, dockerfile_context
from skerry.exception import InvalidError


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("FROM x\nRUN y", []),
        ("COPY a b /dst", ["a", "b"]),
        ("copy ./a/ /dst", ["a"]),
        ("COPY . /dst", ["**"]),
        ("COPY /a /dst", ["a"]),
        ("COPY --from=stage a /dst", []),
        ("COPY --chown=1:2 --chmod=755 --link a /dst", ["a"]),
        ('COPY ["a b", "/dst"]', ["a b"]),
        ("COPY a \\\n  b \\\n  # a comment\n  /dst", ["a", "b"]),
        ("# COPY a /dst", []),
        ("ADD a https://example.com/b git@example.com:c /dst", ["a"]),
        ("COPY <<EOF /dst\nCOPY no /x\nEOF\nCOPY a /dst", ["a"]),
        ("RUN <<EOF\nCOPY no /x\nEOF", []),
        ("COPY *.py src/**/x /dst", ["*.py", "src/**/x"]),
    ],
)
def test_copied(text, patterns):
    assert copied(text.splitlines()) == patterns


@pytest.mark.parametrize("text", ["COPY $A /dst", "COPY ${A}/b /dst", "COPY --nonsense=1 a /dst"])
def test_sources_that_can_not_be_known(text):
    with pytest.raises(InvalidError):
        copied([text])


@pytest.fixture
def tree(tmp_path):
    for name in ("a.txt", "b.txt", "src/x.py", "src/sub/y.py", "src/z.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def names(context):
    return [] if context is None else sorted(context.contents)


def test_context_is_what_is_copied_and_not_ignored(tree):
    assert names(dockerfile_context(["COPY src /x"], tree, ())) == ["src/sub/y.py", "src/x.py", "src/z.tmp"]
    assert names(dockerfile_context(["COPY . /x"], tree, ["**/*.txt", "src/sub"])) == ["src/x.py", "src/z.tmp"]
    assert names(dockerfile_context(["COPY *.txt /x"], tree, ~FilePatternMatcher("a.txt"))) == ["a.txt"]
    assert names(dockerfile_context(["COPY src /x"], tree, lambda path: path.suffix == ".tmp")) == [
        "src/sub/y.py",
        "src/x.py",
    ]
    assert dockerfile_context(["RUN true"], tree, ()) is None
    assert names(dockerfile_context(["COPY /in.txt /x"], tree, (), files={"/in.txt": "a.txt"})) == ["in.txt"]


def test_dockerignore_is_found(tree):
    dockerfile = tree / "my.Dockerfile"
    assert len(names(dockerfile_context(["COPY . /x"], tree, AUTO_DOCKERIGNORE, dockerfile=str(dockerfile)))) == 5
    (tree / ".dockerignore").write_text("*\n!a.txt\n.dockerignore\n")
    assert names(dockerfile_context(["COPY . /x"], tree, AUTO_DOCKERIGNORE, dockerfile=str(dockerfile))) == ["a.txt"]
    (tree / "my.Dockerfile.dockerignore").write_text("**\n!b.txt")
    assert names(dockerfile_context(["COPY . /x"], tree, AUTO_DOCKERIGNORE, dockerfile=str(dockerfile))) == ["b.txt"]
    # One outside of the context is none of its business.
    assert names(dockerfile_context(["COPY . /x"], tree / "src", AUTO_DOCKERIGNORE, dockerfile=str(dockerfile))) == [
        "sub/y.py",
        "x.py",
        "z.tmp",
    ]
