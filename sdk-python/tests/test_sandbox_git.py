"""Git in sandboxes, with the git of this machine."""

from __future__ import annotations

import subprocess

import pytest

from skerry import exception as exc
from skerry._sandbox.git import GitFile, parse_status


@pytest.fixture
def origin(tmp_path) -> str:
    """A bare repository."""
    path = tmp_path / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
    return str(path)


def test_from_an_empty_repository_to_another_copy(sandbox, origin, tmp_path):
    git, one, other = sandbox.git, str(tmp_path / "one"), str(tmp_path / "other")
    git.clone(origin, one)
    status = git.status(one)
    assert (status.branch, status.commit, status.is_clean) == ("main", None, True)
    sandbox.filesystem.write_text("one\n", f"{one}/a file")
    assert git.status(one).files == [GitFile("a file", "", "untracked")]
    git.add(one)
    first = git.commit(one, "first", author="A", email="a@example.com")
    git.push(one, set_upstream=True)
    git.clone(origin, other, branch="main", depth=1)
    git.checkout(other, "topic", create=True)
    assert {(branch.name, branch.is_current) for branch in git.branches(other)} == {("main", False), ("topic", True)}
    assert git.branches(other)[0].commit == first
    git.checkout(other, "main")
    sandbox.filesystem.write_text("two\n", f"{one}/a file")
    git.add(one, ["a file"])
    second = git.commit(one, "second", author="A", email="a@example.com")
    assert git.status(one).ahead == 1
    git.push(one)
    git.pull(other)
    assert git.status(other).commit == second
    with pytest.raises(exc.ExecutionError, match="git checkout failed"):
        git.checkout(other, "nothing")
    with pytest.raises(exc.InvalidError):
        git.checkout(other, "--orphan")


def test_passwords_stay_outside(sandbox):
    with pytest.raises(exc.InvalidError, match="EgressSecret"):
        sandbox.git.clone("https://me:secret@example.com/x.git", "/tmp/x")
    with pytest.raises(exc.InvalidError, match="absolute"):
        sandbox.git.status("here")


def test_status_of_all_kinds():
    records = [
        "# branch.oid (initial)",
        "# branch.head (detached)",
        "# branch.upstream origin/main",
        "# branch.ab +2 -3",
        "1 AM N... 000000 100644 100644 0 1 new file",
        "2 R. N... 100644 100644 100644 1 1 R100 to",
        "from",
        "u UU N... 100644 100644 100644 100644 1 2 3 both",
        "? other",
        "",
    ]
    status = parse_status("\0".join(records))
    assert (status.branch, status.commit, status.upstream, status.ahead, status.behind) == (
        None,
        None,
        "origin/main",
        2,
        3,
    )
    assert status.files == [
        GitFile("new file", "added", "modified"),
        GitFile("to", "renamed", "", "from"),
        GitFile("both", "unmerged", "unmerged"),
        GitFile("other", "", "untracked"),
    ]
