"""Which source goes along, and which files of a folder."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.mount_pb import CreateMountRequest
from skerry._objects.local import LocalDir, LocalFile, LocalPythonSource
from skerry._objects.patterns import NON_PYTHON_FILES
from skerry._run.display import Display
from skerry._run.mounts import Mounts, walk
from skerry._run.source import PACKAGE_IGNORE, find_source


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules with things that are not source."""
    root = tmp_path / "shop_pkg"
    for name in (
        "__init__.py",
        "sub/__init__.py",
        "sub/tasks.py",
        "data.json",
        "old.pyc",
        "__pycache__/x.pyc",
        ".hidden/a.py",
        ".env",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def task():\n    pass\n" if name.endswith(".py") else "x")
    (tmp_path / "my_script.py").write_text("def job():\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("shop_pkg", "my_script"))]:
        del sys.modules[name]


def names(files):
    return sorted(name for name, _ in walk(files))


def test_function_of_a_package_brings_all_of_it(package):
    module = importlib.import_module("shop_pkg.sub.tasks")
    source = find_source(module.task, serialized=False, include=True)
    assert (source.module, source.qualname) == ("shop_pkg.sub.tasks", "task")
    (files,) = source.files
    assert (files.local_path, files.remote_path) == (str(package / "shop_pkg"), "/root/shop_pkg")
    assert names(files) == ["__init__.py", "data.json", "sub/__init__.py", "sub/tasks.py"]


def test_function_of_a_script_brings_that_file(package):
    module = importlib.import_module("my_script")
    source = find_source(module.job, serialized=False, include=True)
    assert source.module == "my_script"
    (files,) = source.files
    assert isinstance(files, LocalFile)
    assert files.remote_path == "/root/my_script.py"


def test_namespace_package(package):
    (package / "shop_pkg" / "__init__.py").unlink()
    importlib.invalidate_caches()
    module = importlib.import_module("shop_pkg.sub.tasks")
    (files,) = find_source(module.task, serialized=False, include=True).files
    assert files.remote_path == "/root/shop_pkg"


def test_main_script_has_its_files_name(package, monkeypatch):
    module = importlib.import_module("my_script")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(module, "__name__", "__main__")
    monkeypatch.setattr(module, "__spec__", None)
    monkeypatch.setattr(module.job, "__module__", "__main__")
    assert find_source(module.job, serialized=False, include=True).module == "my_script"
    monkeypatch.setattr(module, "__file__", "/x/my.script.py")
    with pytest.raises(exc.InvalidError, match="can be imported"):
        find_source(module.job, serialized=False, include=True)


def test_no_source_where_none_is_wanted(package):
    module = importlib.import_module("my_script")
    assert find_source(module.job, serialized=False, include=False) == ("my_script", "job", [])
    assert find_source(module.job, serialized=True, include=True) == ("", "job", [])


def test_python_source_by_name(package, client, server):
    mounts = Mounts(client, Display())
    ((path, _),) = mounts.load(LocalPythonSource("shop_pkg", NON_PYTHON_FILES))
    assert path == "/root/shop_pkg"
    ((path, _),) = mounts.load(LocalPythonSource("my_script", NON_PYTHON_FILES))
    assert path == "/root/my_script.py"
    for bad in ("not_there", "sys", "not_there.sub"):
        with pytest.raises(exc.ModuleNotMountable):
            mounts.load(LocalPythonSource(bad, NON_PYTHON_FILES))
    (package / "shop_pkg" / "fast.so").write_text("x")
    with pytest.raises(exc.ModuleNotMountable, match=r"fast\.so"):
        mounts.load(LocalPythonSource("shop_pkg", NON_PYTHON_FILES))


def test_only_new_files_are_sent(tmp_path, client, server):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("one")
    (folder / "b").write_text("two")
    (folder / "b").chmod(0o755)
    (folder / "same as a").write_text("one")
    first = Mounts(client, Display()).load(LocalDir(str(folder), "/data", ()))
    assert server.order()["uploads"] == 2
    assert Mounts(client, Display()).load(LocalDir(str(folder), "/data", ())) == first
    assert server.order()["uploads"] == 2
    (folder / "b").write_text("changed")
    assert Mounts(client, Display()).load(LocalDir(str(folder), "/data", ())) != first
    assert server.order()["uploads"] == 3


def test_what_is_not_there(tmp_path, client):
    mounts = Mounts(client, Display())
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        mounts.load(LocalFile(str(tmp_path / "none"), "/x"))
    with pytest.raises(FileNotFoundError, match="add_local_dir"):
        mounts.load(LocalFile(str(tmp_path / "empty"), "/x"))
    with pytest.raises(NotADirectoryError):
        mounts.load(LocalDir(str(tmp_path / "file"), "/x", ()))
    with pytest.raises(exc.InvalidError, match="no files"):
        mounts.load(LocalDir(str(tmp_path / "empty"), "/x", ()))


def test_files_that_change_meanwhile(tmp_path, client, monkeypatch):
    mounts = Mounts(client, Display())
    (tmp_path / "file").write_text("x")
    later = time.time() + 60
    os.utime(tmp_path / "file", (later, later))
    file = LocalFile(str(tmp_path / "file"), "/x")
    with pytest.raises(exc.ExecutionError, match="modified during build process"):
        mounts.load(file)
    monkeypatch.setenv("SKERRY_BUILD_VALIDATION", "nonsense")
    with pytest.raises(exc.InvalidError, match="warn"):
        mounts.load(file)
    monkeypatch.setenv("SKERRY_BUILD_VALIDATION", "warn")
    with pytest.warns(UserWarning, match="modified during build process"):
        mounts.load(file)


def test_symlinked_files_are_sent_as_their_content(tmp_path):
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "broken").symlink_to("nowhere")
    assert names(LocalDir(str(tmp_path), "/x", ())) == ["link", "real"]


@pytest.mark.parametrize(
    ("patterns", "matching", "others"),
    [
        (["*.txt"], ["a.txt"], ["a.py", "d/a.txt"]),
        (["**/*.txt"], ["a.txt", "d/e/a.txt"], ["a.py"]),
        (["build"], ["build", "build/x/y"], ["builder", "d/build"]),
        (["**/build/"], ["build", "d/build/x"], ["d/builds"]),
        (["/a?c"], ["abc"], ["ac", "a/c"]),
        (["[ab].py"], ["a.py"], ["c.py"]),
        (["[!ab].py"], ["c.py"], ["a.py"]),
        (["*", "!keep.txt"], ["a", "b.txt"], ["keep.txt"]),
        (["**/*.py", "!src/**", "src/gen/**"], ["x/a.py", "src/gen/a.py"], ["src/a.py"]),
        (["a/**/z"], ["a/z", "a/b/c/z"], ["a/b"]),
        (["", "  ", "."], [], ["a"]),
    ],
)
def test_patterns(patterns, matching, others):
    matcher = skerry.FilePatternMatcher(*patterns)
    assert [path for path in matching if not matcher(Path(path))] == []
    assert [path for path in others if matcher(Path(path))] == []
    assert all((~matcher)(Path(path)) for path in others)


def test_pattern_file(tmp_path):
    (tmp_path / "ignore").write_text("# comment\n*.log\n\n!keep.log\n")
    matcher = skerry.FilePatternMatcher.from_file(tmp_path / "ignore")
    assert matcher(Path("a.log"))
    assert not matcher(Path("keep.log"))
    assert not matcher.can_prune_directories()
    assert PACKAGE_IGNORE.can_prune_directories()


def test_ignore_may_be_a_function(tmp_path, client, server):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.bin").write_text("b")
    assert names(LocalDir(str(tmp_path), "/x", lambda path: path.suffix == ".bin")) == ["a.txt"]


def test_mode_is_kept(tmp_path, client):
    (tmp_path / "run.sh").write_text("x")
    os.chmod(tmp_path / "run.sh", 0o750)
    described = Mounts(client, Display())._describe(("run.sh", str(tmp_path / "run.sh")))
    assert CreateMountRequest(files=[described]).files[0].mode == 0o750
