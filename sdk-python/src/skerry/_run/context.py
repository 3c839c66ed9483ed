"""What a Dockerfile copies: which local files are sent with it."""

from __future__ import annotations

import json
import os
import posixpath
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from skerry._objects.local import LocalContents
from skerry._objects.patterns import AUTO_DOCKERIGNORE, FilePatternMatcher, make_matcher
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from skerry._objects.patterns import Ignore

# Flags of COPY and ADD that say how, not what.
_FLAGS = ("--chmod", "--chown", "--link", "--parents", "--exclude", "--keep-git-dir", "--checksum", "--unpack")
_REMOTE = ("http://", "https://", "git@", "git://", "ssh://")


def read_text(path: str) -> str:
    """Return the text of a local Dockerfile. Raises FileNotFoundError."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def dockerfile_context(
    lines: Sequence[str],
    folder: str | os.PathLike[str] | None,
    ignore: Ignore,
    *,
    dockerfile: str = "",
    files: dict[str, str] | None = None,
) -> LocalContents | None:
    """Return the files that Dockerfile lines copy from a folder, and some given by the absolute paths they are copied from; None: none.

    Raises InvalidError for a source that is an unknown flag or begins with a variable.
    """
    contents: dict[str, str | bytes] = {}
    sources = copied(lines)
    if sources:
        root = os.path.abspath(folder or ".")
        wanted = FilePatternMatcher(*sources)
        ignored = make_matcher(_auto(root, dockerfile) if ignore is AUTO_DOCKERIGNORE else ignore)
        contents |= {name: path for name, path in _walk(root, ignored) if wanted(Path(name))}
    for name, path in (files or {}).items():
        contents[posixpath.normpath(name).lstrip("/")] = os.path.abspath(path)
    return LocalContents(contents) if contents else None


def copied(lines: Sequence[str]) -> list[str]:
    """Return patterns of what COPY and ADD instructions take from the context."""
    patterns: list[str] = []
    for instruction in _instructions(lines):
        word, _, rest = instruction.partition(" ")
        if word.upper() not in ("COPY", "ADD"):
            continue
        sources = _sources(rest.strip())
        for source in sources or []:
            if source.startswith("$"):
                raise InvalidError(
                    f"{instruction!r}: a source that begins with a variable can't be known here; write it out"
                )
            if source.startswith("--"):
                raise InvalidError(f"{instruction!r}: flag {source!r} is not known")
            if source.startswith("<<") or (word.upper() == "ADD" and source.startswith(_REMOTE)):
                continue
            clean = posixpath.normpath(source).lstrip("/")
            patterns.append("**" if clean == "." else clean)
    return patterns


def _sources(rest: str) -> list[str] | None:
    """Return what an instruction copies; None: not from the context."""
    while rest.startswith("--"):
        flag, _, left = rest.partition(" ")
        name = flag.partition("=")[0]
        if name == "--from":
            return None
        if name not in _FLAGS:
            return [flag]
        rest = left.strip()
    if rest.startswith("["):
        try:
            return [str(item) for item in json.loads(rest)][:-1]
        except ValueError:
            pass  # not the list form: a file whose name begins with a bracket
    return shlex.split(rest)[:-1]


def _instructions(lines: Sequence[str]) -> Iterator[str]:
    """Yield instructions with their continued lines joined, without comments and without the texts of heredocs."""
    pending = ""
    until: list[str] = []
    for line in (part for whole in lines for part in whole.splitlines()):
        if until:
            if line.strip("\t") == until[0]:
                until.pop(0)
            continue
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        instruction, pending = (pending + stripped).strip(), ""
        until = _heredocs(instruction)
        yield instruction
    if pending:
        yield pending.strip()


def _heredocs(instruction: str) -> list[str]:
    if instruction.partition(" ")[0].upper() not in ("COPY", "ADD", "RUN"):
        return []
    words = [word for word in instruction.split() if word.startswith("<<") and not word.startswith("<<<")]
    return [word[2:].lstrip("-").strip("'\"") for word in words]


def _auto(root: str, dockerfile: str) -> Ignore:
    """Return the patterns of the first .dockerignore that there is and that lies in the context."""
    places = [os.path.join(root, ".dockerignore")]
    if dockerfile:
        beside, name = os.path.split(os.path.abspath(dockerfile))
        places = [os.path.join(beside, f"{name}.dockerignore"), os.path.join(beside, ".dockerignore"), *places]
    for place in places:
        if os.path.isfile(place) and os.path.commonpath([root, place]) == root:
            return FilePatternMatcher.from_file(place)
    return ()


def _walk(root: str, ignored: Callable[[Path], bool]) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(root):
        raise NotADirectoryError(f"context_dir {root!r} is no folder")
    prune = isinstance(ignored, FilePatternMatcher) and ignored.can_prune_directories()
    for folder, folders, names in os.walk(root, followlinks=False):
        relative = Path(os.path.relpath(folder, root))
        folders.sort()
        if prune:
            folders[:] = [name for name in folders if not ignored(relative / name)]
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not ignored(relative / name) and os.path.isfile(path):
                yield (relative / name).as_posix(), path
