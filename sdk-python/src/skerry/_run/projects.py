"""What is read of local projects for images: pyproject.toml and locks."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from skerry.exception import InvalidError, NotFoundError


def project_dependencies(path: str, extras: list[str]) -> list[str]:
    """Return ``project.dependencies`` and those of extras. Raises ValueError for a file without them or without such an extra."""
    project = _read(path).get("project", {})
    if "dependencies" not in project:
        raise ValueError(
            f"{path}: has no [project.dependencies]; for a Poetry project use Image.poetry_install_from_file"
        )
    found = list(project["dependencies"])
    optional = project.get("optional-dependencies", {})
    for extra in extras:
        if extra not in optional:
            raise ValueError(f"{path}: has no extra {extra!r}; there is: {', '.join(optional) or 'none'}")
        found += optional[extra]
    return found


def uv_project(folder: str) -> dict[str, str | bytes]:
    """Return the files of a uv project that its dependencies are read from.

    Raises NotFoundError without pyproject.toml, InvalidError for a workspace.
    """
    path = os.path.join(folder, "pyproject.toml")
    if not os.path.isfile(path):
        raise NotFoundError(f"uv_sync: {path!r} does not exist; uv_project_dir is the folder of the uv project")
    if "workspace" in _read(path).get("tool", {}).get("uv", {}):
        raise InvalidError(
            f"uv_sync: {path!r} is that of a workspace, which can't be installed; name one of its members"
        )
    files: dict[str, str | bytes] = {"pyproject.toml": path}
    lock = os.path.join(folder, "uv.lock")
    if os.path.isfile(lock):
        files["uv.lock"] = lock
    return files


def poetry_project(path: str, lock: str | None, *, ignore_lock: bool) -> dict[str, str | bytes]:
    """Return the files of a Poetry project that its dependencies are read from. Raises NotFoundError without a lock."""
    if not os.path.isfile(path):
        raise NotFoundError(f"poetry_install_from_file: {path!r} does not exist")
    files: dict[str, str | bytes] = {"pyproject.toml": path}
    if ignore_lock:
        return files
    beside = os.path.join(os.path.dirname(path), "poetry.lock")
    found = lock or beside
    if not os.path.isfile(found):
        raise NotFoundError(
            f"poetry_install_from_file: lock {found!r} does not exist; give poetry_lockfile, or ignore_lockfile=True"
        )
    files["poetry.lock"] = found
    return files


def _read(path: str) -> dict[str, Any]:
    parser: Any = import_module("tomllib")  # by name: there is none in Python 3.10
    with open(path, "rb") as file:
        return parser.load(file)
