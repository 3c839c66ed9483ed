"""Sections 9 and 18: volumes."""

import asyncio
import io
import os
import pickle
from collections.abc import Generator
from pathlib import Path

import pytest
import skerry
from skerry.exception import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from skerry.types import FileEntryType

from e2e.conformance.apps import volumes
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture
def volume(reachable: None) -> Generator[skerry.Volume]:
    """A volume for one test."""
    del reachable
    with skerry.Volume.ephemeral() as made:
        yield made


def _put(volume: skerry.Volume, files: dict[str, bytes], force: bool = False) -> None:
    with volume.batch_upload(force) as batch:
        for path, content in files.items():
            batch.put_file(io.BytesIO(content), path)


def _read(volume: skerry.Volume, path: str) -> bytes:
    return b"".join(volume.read_file(path))


def _paths(volume: skerry.Volume, path: str = "/") -> list[str]:
    return [entry.path for entry in volume.iterdir(path) if entry.type != FileEntryType.DIRECTORY]


@line("18 volumes", "from_name is lazy; create_if_missing; objects.create, list, delete; rename; from_id; info; another name's errors.")
def test_names() -> None:
    with pytest.raises(NotFoundError):
        skerry.Volume.from_name("conformance-none").hydrate()
    skerry.Volume.objects.create("conformance-a")
    try:
        with pytest.raises(AlreadyExistsError):
            skerry.Volume.objects.create("conformance-a")
        skerry.Volume.objects.create("conformance-a", allow_existing=True, version=2)
        handle = skerry.Volume.from_name("conformance-a")
        assert not handle.is_hydrated
        assert handle.info().name == "conformance-a"
        assert skerry.Volume.from_id(handle.object_id).info() == handle.info()
        assert "conformance-a" in [each.name for each in skerry.Volume.objects.list()]
        skerry.Volume.rename("conformance-a", "conformance-b")
        with pytest.raises(NotFoundError):
            skerry.Volume.from_name("conformance-a").hydrate()
        with pytest.raises(InvalidError):
            skerry.Volume.from_name("conformance-b", version=3)
    finally:
        for name in ("conformance-a", "conformance-b"):
            skerry.Volume.objects.delete(name, allow_missing=True)
    with pytest.raises(NotFoundError):
        skerry.Volume.objects.delete("conformance-b")


@line(
    "18 volumes",
    "batch_upload: nothing is sent before the block ends, an exception discards it, an existing file is FileExistsError without force.",
)
def test_batches(volume: skerry.Volume) -> None:
    def fail() -> None:
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"x"), "a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _paths(volume) == []
    _put(volume, {"a": b"1", "d/b": b"2"})
    with pytest.raises(FileExistsError):
        _put(volume, {"new": b"x", "a": b"3"})
    assert _paths(volume) == ["a", "d/b"]
    _put(volume, {"new": b"x", "a": b"3"}, force=True)
    assert _read(volume, "a") == b"3"
    with pytest.raises(ValueError, match="ends with"), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x"), "folder/")


@line("18 volumes", "put_directory keeps permission bits and times; file objects get 0644; mode says otherwise.")
def test_modes(volume: skerry.Volume, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "in/run.sh").chmod(0o750)
    os.utime(tmp_path / "in/run.sh", (1_000_000_000, 1_000_000_000))
    (tmp_path / "in/link").symlink_to("run.sh")
    with volume.batch_upload() as batch:
        batch.put_directory(tmp_path, "/top")
        batch.put_directory(tmp_path, "/flat", recursive=False)
    found = {entry.path: entry for entry in volume.iterdir("top")}
    assert found["top/in/run.sh"].mtime == 1_000_000_000
    assert found["top/in/link"].type == FileEntryType.SYMLINK
    assert _read(volume, "top/in/link") == b"#!/bin/sh\n"
    assert volume.listdir("flat") == []


@line(
    "18 volumes",
    "listdir and iterdir: paths from the root without a slash in front, a file is its own entry, patterns are InvalidError, recursive.",
)
def test_lists(volume: skerry.Volume) -> None:
    _put(volume, {"a/b/c": b"1", "a/d": b"22"})
    assert [entry.path for entry in volume.listdir("/")] == ["a"]
    assert [entry.path for entry in volume.listdir("a", recursive=True)] == ["a/b", "a/b/c", "a/d"]
    assert [(entry.path, entry.size) for entry in volume.listdir("/a/d")] == [("a/d", 2)]
    with pytest.raises(InvalidError):
        volume.listdir("a/*")
    with pytest.raises(FileNotFoundError):
        volume.listdir("none")


@line("18 volumes", "read_file streams, of one version; read_file_into_fileobj; FileNotFoundError for what is not there.")
def test_reading(volume: skerry.Volume) -> None:
    content = os.urandom(30 << 20)
    _put(volume, {"large": content})
    parts = iter(volume.read_file("large"))
    begin = next(parts)
    _put(volume, {"large": b"other"}, force=True)
    assert begin + b"".join(parts) == content
    out = io.BytesIO()
    assert volume.read_file_into_fileobj("large", out) == 5
    assert out.getvalue() == b"other"
    for path in ("none", "large/x"):
        with pytest.raises(FileNotFoundError):
            _read(volume, path)


@line("18 volumes", "remove_file and copy_files, as rm and cp do it; FileNotFoundError; folders need recursive.")
def test_changes(volume: skerry.Volume) -> None:
    _put(volume, {"a/1": b"1", "a/2": b"2", "b": b"3"})
    volume.copy_files(["b"], "a")
    with pytest.raises(ConflictError):
        volume.copy_files(["a"], "c")
    volume.copy_files(["a"], "c", recursive=True)
    assert _paths(volume) == ["a/1", "a/2", "a/b", "b", "c/1", "c/2", "c/b"]
    with pytest.raises(ConflictError):
        volume.remove_file("a")
    volume.remove_file("a", recursive=True)
    volume.remove_file("b")
    assert _paths(volume) == ["c/1", "c/2", "c/b"]
    for change in (lambda: volume.remove_file("b"), lambda: volume.copy_files(["b"], "x")):
        with pytest.raises(FileNotFoundError):
            change()


@line("18 volumes", "read_only handles refuse changes with InvalidError; with_mount_options can be stacked, and goes with the handle.")
def test_mount_options(volume: skerry.Volume) -> None:
    handle = pickle.loads(pickle.dumps(volume.with_mount_options(read_only=True).with_mount_options(sub_path="/a/b")))
    assert repr(handle).endswith(".with_mount_options(read_only=True, sub_path='a/b')")
    with pytest.raises(InvalidError):
        handle.remove_file("x")
    with pytest.raises(InvalidError):
        volume.read_only().batch_upload()


@line("18 volumes", "Mount paths are absolute and canonical, not /, /root, /tmp; the same volume twice is InvalidError.")
def test_mount_paths(volume: skerry.Volume) -> None:
    app = skerry.App()
    for path in ("/", "/root", "/tmp", "data", "/a/../b", "/a//b"):
        with pytest.raises(InvalidError):
            app.function(volumes={path: volume}, serialized=True)
    with pytest.raises(InvalidError):
        app.function(volumes={"/a": volume, "/b": skerry.Volume.from_id(volume.object_id)}, serialized=True)


@line("18 volumes", "Each method has an .aio form.")
def test_asyncio(volume: skerry.Volume) -> None:
    async def use() -> list[str]:
        async with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"1"), "a")
        assert [part async for part in volume.read_file.aio("a")] == [b"1"]
        await volume.copy_files.aio(["a"], "b")
        return [entry.path async for entry in volume.iterdir.aio("/")]

    assert asyncio.run(use()) == ["a", "b"]


@line("18 volumes", "Versions: history, and an old one restored.", differs="the reference has none")
def test_history(volume: skerry.Volume) -> None:
    _put(volume, {"a": b"1"})
    volume.remove_file("a")
    assert [(each.version, each.reason, each.num_files) for each in volume.history()] == [
        (3, "remove", 0),
        (2, "upload", 1),
        (1, "create", 0),
    ]
    assert volume.restore(2).version == 4
    assert _read(volume, "a") == b"1"
    with pytest.raises(NotFoundError):
        volume.restore(77)


@line("18 volumes", "commit makes a container's changes part of the volume; they are seen by others after reload.")
def test_commit_and_reload(running: Running) -> None:
    with running(volumes.app):
        reader = volumes.Reader()
        assert reader.read.remote("first", False) is None
        volumes.write.remote("first", "from a container", True)
        assert _read(volumes.shared, "first") == b"from a container"
        assert reader.read.remote("first", False) is None
        assert reader.read.remote("first", True) == "from a container"


@line("18 volumes", "reload is a RuntimeError while files are open, and says which.")
def test_open_files(running: Running) -> None:
    with running(volumes.app):
        volumes.write.remote("open", "x", True)
        reader = volumes.Reader()
        assert reader.read.remote("open", True) == "x"
        said = reader.reload_with_open_file.remote("open")
        assert "there are open files preventing the operation" in said
        assert "/shared/open" in said


@line("18 volumes", "What a container has written is committed at its end, also if it fails.")
def test_commit_at_the_end(running: Running) -> None:
    with running(volumes.app):
        with pytest.raises(ValueError, match="on purpose"):
            volumes.write_and_fail.remote("last")
        sandbox = skerry.Sandbox.create("sh", "-c", "echo sandbox > /v/sandbox", app=volumes.app, volumes={"/v": volumes.shared})
        sandbox.wait()
    # An app has ended when its containers have, with what they had to commit.
    assert _read(volumes.shared, "sandbox") == b"sandbox\n"


@line("18 volumes", "sub_path is made where it is not there; a read-only mount can't be written to.")
def test_mounts(running: Running) -> None:
    with running(volumes.app):
        assert volumes.try_to_write.remote() == ([], "OSError")


@line("18 volumes", "with_options(volumes=...) and Sandbox.create(volumes=...); reload_volumes.")
def test_options(running: Running, volume: skerry.Volume) -> None:
    _put(volume, {"a": b"1"})
    with running(volumes.app):
        assert volumes.listed.with_options(volumes={"/mine": volume}).remote("/mine") == ["a"]
        sandbox = skerry.Sandbox.create(app=volumes.app, volumes={"/mine": volume})
        try:
            assert sandbox.exec("ls", "/mine").stdout.read() == "a\n"
            _put(volume, {"b": b"2"})
            sandbox.reload_volumes()
            assert sandbox.exec("ls", "/mine").stdout.read() == "a\nb\n"
        finally:
            sandbox.terminate()
