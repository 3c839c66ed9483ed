"""The same steps are the same image in every language: docs/image-recipes.json has recipes, which the TypeScript SDK's tests read as well.

To add one, leave its "recipe" out, run this file as a program, and look at what it has written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import skerry
from skerry._gen.skerry.v1.volume_mount_pb import VolumeMount
from skerry._objects.local import LocalFiles
from skerry._run.mounts import walk
from skerry._run.recipes import make_recipe

PATH = Path(__file__).resolve().parents[2] / "docs/image-recipes.json"
VECTORS = json.loads(PATH.read_text())


class Server:
    """Calls things what the vectors call them: a tree by the digest of its names and contents, a secret by its variable."""

    def tree(self, files: LocalFiles) -> str:
        lines = [f"{name}:{Path(path).read_text()}" for name, path in sorted(walk(files))]
        return "tree:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def files(self, files: LocalFiles) -> list[tuple[str, str]]:
        return [(files.remote_path, self.tree(files))]

    def secret(self, secret: skerry.Secret) -> str:
        return "st-" + next(iter(secret._variables))

    def volumes(self, volumes: Mapping[str, skerry.Volume]) -> list[VolumeMount]:
        return [
            VolumeMount(
                mount_path=path, volume_id=each._object_id or "", read_only=each._read_only, sub_path=each._sub_path
            )
            for path, each in volumes.items()
        ]

    def named(self, fields: dict[str, str]) -> str:
        raise NotImplementedError


def value(described: Any) -> Any:
    if isinstance(described, dict) and "$secret" in described:
        return skerry.Secret.from_dict({described["$secret"]: "x"})
    if isinstance(described, dict) and "$volume" in described:
        volume = skerry.Volume.from_id(described["$volume"])
        return volume.with_mount_options(read_only=described["read_only"], sub_path=described["sub_path"])
    if isinstance(described, dict):
        return {name: value(item) for name, item in described.items()}
    return [value(item) for item in described] if isinstance(described, list) else described


def apply(target: Any, call: dict[str, Any]) -> Any:
    options = {name: value(item) for name, item in call.get("options", {}).items()}
    return getattr(target, call["method"])(*map(value, call.get("args", [])), **options)


def build(vector: dict[str, Any], folder: Path) -> tuple[str, list[list[str]]]:
    """Return the recipe's bytes in hex, and the mounts. The folder is the current one."""
    for name, text in vector.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    image = apply(skerry.Image, vector["base"])
    for step in vector["steps"]:
        image = apply(image, step)
    server = Server()
    mounts = [[files.remote_path, server.tree(files)] for files in image._mounts]
    return make_recipe(image, server).message.to_binary().hex(), mounts


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_recipe(vector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, mounts = build(vector, tmp_path)
    assert recipe == vector["recipe"]
    assert mounts == vector.get("mounts", [])


def complete() -> None:
    """Write what is missing in the vectors."""
    for vector in VECTORS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            vector["recipe"], mounts = build(vector, Path(folder))
            if mounts:
                vector["mounts"] = mounts
    lines = ",\n".join("  " + json.dumps(vector, ensure_ascii=False) for vector in VECTORS)
    PATH.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    complete()
