"""Files of sandboxes, against the service that skerry-init has in sandboxes, run natively."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat

import pytest

from skerry import exception as exc
from skerry.types import FileType, FileWatchEventType

MIB = 1 << 20


@pytest.fixture
def there(tmp_path) -> str:
    """A directory of the sandbox."""
    folder = tmp_path / "there"
    folder.mkdir()
    return str(folder)


def test_text_and_bytes(sandbox, there):
    files = sandbox.filesystem
    files.write_text("héllo\n", f"{there}/a/b/text")
    assert files.read_text(f"{there}/a/b/text") == "héllo\n"
    files.write_bytes(bytearray(b"\0\xff"), f"{there}/a/b/text")
    assert files.read_bytes(f"{there}/a/b/text") == b"\0\xff"
    with pytest.raises(UnicodeDecodeError):
        files.read_text(f"{there}/a/b/text")
    files.write_text("", f"{there}/empty")
    assert files.read_bytes(f"{there}/empty") == b""
    with pytest.raises(TypeError):
        files.write_bytes("text", f"{there}/x")
    with pytest.raises(TypeError):
        files.write_text(b"bytes", f"{there}/x")


def test_large_files_both_ways_over_breaks(server, sandbox, there, tmp_path):
    data = os.urandom(MIB) * 21 + b"end"
    (tmp_path / "up").write_bytes(data)
    (tmp_path / "up").chmod(0o750)
    files = sandbox.filesystem
    server.order(away=1)
    files.copy_from_local(tmp_path / "up", f"{there}/deep/file")
    info = files.stat(f"{there}/deep/file")
    assert (info.size, info.mode) == (len(data), 0o750)
    server.order(break_inside=5)
    files.copy_to_local(f"{there}/deep/file", tmp_path / "made" / "down")
    down = (tmp_path / "made" / "down").read_bytes()
    assert hashlib.sha256(down).digest() == hashlib.sha256(data).digest()
    assert os.listdir(tmp_path / "made") == ["down"]
    server.order(break_inside=7)
    assert files.read_bytes(f"{there}/deep/file") == data


def test_what_is_described(sandbox, there):
    files = sandbox.filesystem
    files.write_text("x" * 10, f"{there}/file")
    files.make_directory(f"{there}/folder")
    os.symlink("file", f"{there}/link")
    listed = {info.name: info for info in files.list_files(there)}
    assert sorted(listed) == ["file", "folder", "link"]
    file, folder, link = (listed[name] for name in ("file", "folder", "link"))
    assert (file.type, file.size, file.path, file.is_file()) == (FileType.FILE, 10, f"{there}/file", True)
    assert (folder.is_dir(), folder.permissions[0]) == (True, "d")
    assert (link.is_symlink(), link.symlink_target, files.stat(f"{there}/link").is_symlink()) == (True, "file", True)
    assert file.permissions == stat.filemode(stat.S_IFREG | file.mode)
    assert file.modified_time.tzinfo is not None
    assert files.change(f"{there}/file", mode=0o700).mode == 0o700
    files.move(f"{there}/file", f"{there}/moved")
    assert not os.path.exists(f"{there}/file")


def test_directories(sandbox, there):
    files = sandbox.filesystem
    files.make_directory(f"{there}/a/b/c")
    files.make_directory(f"{there}/a/b/c")
    with pytest.raises(exc.SandboxFilesystemPathAlreadyExistsError):
        files.make_directory(f"{there}/a", create_parents=False)
    with pytest.raises(exc.SandboxFilesystemNotFoundError):
        files.make_directory(f"{there}/x/y", create_parents=False)
    with pytest.raises(exc.SandboxFilesystemDirectoryNotEmptyError):
        files.remove(f"{there}/a")
    files.remove(f"{there}/a", recursive=True)
    assert files.list_files(there) == []


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (exc.SandboxFilesystemNotFoundError, lambda files, there: files.read_text(f"{there}/none")),
        (exc.SandboxFilesystemNotFoundError, lambda files, there: files.stat(f"{there}/none")),
        (exc.SandboxFilesystemNotFoundError, lambda files, there: files.list_files(f"{there}/none")),
        (exc.SandboxFilesystemNotFoundError, lambda files, there: files.remove(f"{there}/none")),
        (exc.SandboxFilesystemNotFoundError, lambda files, there: files.copy_to_local(f"{there}/none", there + "/x")),
        (exc.SandboxFilesystemNotFoundError, lambda files, there: next(files.watch(f"{there}/none"))),
        (exc.SandboxFilesystemIsADirectoryError, lambda files, there: files.read_bytes(there)),
        (exc.SandboxFilesystemIsADirectoryError, lambda files, there: files.write_text("x", there)),
        (exc.SandboxFilesystemNotADirectoryError, lambda files, there: files.list_files("/etc/passwd")),
        (exc.SandboxFilesystemNotADirectoryError, lambda files, there: files.write_text("x", "/etc/passwd/x")),
        (exc.InvalidError, lambda files, there: files.read_text("relative")),
        (exc.InvalidError, lambda files, there: files.stat("/a\0b")),
        (exc.InvalidError, lambda files, there: files.stat("/" + "x" * 5000)),
        (FileNotFoundError, lambda files, there: files.copy_from_local(f"{there}/none", f"{there}/x")),
        (IsADirectoryError, lambda files, there: files.copy_from_local(there, f"{there}/x")),
    ],
)
def test_errors(sandbox, there, kind, operation):
    with pytest.raises(kind):
        operation(sandbox.filesystem, there)
    assert os.listdir(there) == []


def test_errors_of_sandboxes_that_are_gone(sandbox, there):
    sandbox.terminate()
    with pytest.raises(exc.ConflictError):
        sandbox.filesystem.read_text("/etc/passwd")
    sandbox.detach()
    with pytest.raises(exc.ClientClosed):
        sandbox.filesystem.stat("/")


def test_watching(sandbox, there):
    with sandbox.filesystem.watch(there) as events:
        first = None
        while first is None:
            sandbox.filesystem.write_text("x", f"{there}/new")
            first = next(events)
        assert first.type in (FileWatchEventType.Create, FileWatchEventType.Modify)
        os.rename(f"{there}/new", f"{there}/old")
        renamed = next(event for event in events if len(event.paths) == 2)
        assert renamed.paths == [f"{there}/new", f"{there}/old"]
        os.unlink(f"{there}/old")
        removed = next(event for event in events if event.type is FileWatchEventType.Remove)
        assert removed.paths == [f"{there}/old"]
    assert list(sandbox.filesystem.watch(there, timeout=0.2)) == []

    async def watch() -> list[FileWatchEventType]:
        seen = []
        async with sandbox.filesystem.watch.aio(there, filter=[FileWatchEventType.Create], recursive=True) as events:
            await sandbox.filesystem.make_directory.aio(f"{there}/folder")
            async for event in events:
                seen.append(event.type)
                break
        return seen

    assert asyncio.run(watch()) == [FileWatchEventType.Create]


@pytest.mark.filterwarnings("ignore::skerry.exception.DeprecationError")
def test_the_old_surface(sandbox, there):
    with pytest.warns(exc.DeprecationError, match="filesystem"):
        file = sandbox.open(f"{there}/file", "w")
    file.write("one\ntwo\n")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write("x")
    with sandbox.open(f"{there}/file", "a+") as again:
        again.write("three")
        again.seek(0)
        assert again.readline() == "one\n"
        assert again.read(2) == "tw"
        assert again.readlines() == ["o\n", "three"]
    with sandbox.open(f"{there}/file", "rb") as raw:
        assert raw.read() == b"one\ntwo\nthree"
        with pytest.raises(exc.FilesystemExecutionError):
            raw.write(b"x")
    with pytest.raises(FileNotFoundError):
        sandbox.open(f"{there}/none")
    with pytest.raises(exc.SandboxFilesystemPathAlreadyExistsError):
        sandbox.open(f"{there}/file", "x")
    sandbox.mkdir(f"{there}/a/b", parents=True)
    assert sandbox.ls(there) == ["a", "file"]
    sandbox.rm(f"{there}/a", recursive=True)
    assert list(sandbox.watch(there, timeout=1)) == []
