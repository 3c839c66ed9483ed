"""What volumes are on this side of the connection."""

import io
import os
import pickle

import pytest

import skerry
from skerry import exception as exc
from skerry._objects.volumes import check_volumes
from skerry._volume.paths import no_pattern, remote_file, volume_path
from skerry._volume.sources import Folder, Link, LocalFile, walk

VOLUME = skerry.Volume.from_name("data")


@pytest.mark.parametrize("path", ["/", "/root", "/tmp", "data", "/a/../b", "/a//b", "/a/", "/proc/x", "/__skerry"])
def test_paths_at_which_nothing_is_mounted(path):
    with pytest.raises(exc.InvalidError):
        check_volumes({path: VOLUME})


@pytest.mark.parametrize("volumes", [[VOLUME], {"/a": "data"}, {"/a": VOLUME, "/b": skerry.Volume.from_name("data")}])
def test_volumes_that_make_no_sense(volumes):
    with pytest.raises(exc.InvalidError):
        check_volumes(volumes)


def test_handles():
    with pytest.raises(exc.InvalidError):
        skerry.Volume.from_name("a b")
    with pytest.raises(exc.InvalidError):
        skerry.Volume.from_name("a", version=3)
    with pytest.raises(exc.InvalidError):
        skerry.Volume.from_id("di-0123456789012345678901")
    with pytest.raises(exc.ExecutionError, match="hydrated"):
        VOLUME.object_id  # noqa: B018
    handle = VOLUME.with_mount_options(read_only=True).with_mount_options(sub_path="/a/b/")
    assert repr(handle) == "skerry.Volume.from_name('data').with_mount_options(read_only=True, sub_path='a/b')"
    again = pickle.loads(pickle.dumps(handle))
    assert (again._read_only, again._sub_path, again.name) == (True, "a/b", "data")
    assert not VOLUME._read_only
    with pytest.raises(exc.InvalidError, match="read-only"):
        handle.batch_upload()
    with pytest.raises(exc.InvalidError):
        handle.with_mount_options(read_only=False).read_only()


def test_remote_paths():
    assert volume_path("/a/b/") == "a/b"
    assert remote_file("/a") == "a"
    for path in ("a/", "/", ""):
        with pytest.raises(ValueError):
            remote_file(path)
    for path in ("a/../b", ".."):
        with pytest.raises(exc.InvalidError):
            volume_path(path)
    with pytest.raises(exc.InvalidError, match="pattern"):
        no_pattern("a/*")
    batch = VOLUME.batch_upload()
    with pytest.raises(exc.InvalidError, match="mode"):
        batch.put_file(io.BytesIO(), "a", mode=0o100644)
    with pytest.raises(exc.InvalidError, match="binary"):
        batch.put_file(io.StringIO("x"), "a")


def test_what_is_in_a_folder(tmp_path):
    (tmp_path / "top/in").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    for name in ("top/b", "top/a", "top/in/c"):
        (tmp_path / name).write_text(name)
    (tmp_path / "top/in/up").symlink_to("../a")
    (tmp_path / "top/out").symlink_to("../outside")
    (tmp_path / "top/gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "top/pipe")
    with pytest.warns(UserWarning, match="left out") as left:
        found = list(walk(tmp_path / "top", "to", True))
    assert {str(each.message).partition("'")[2].partition("'")[0] for each in left} == {
        str(tmp_path / "top/gone"),
        str(tmp_path / "top/pipe"),
    }
    assert [(type(each), each.remote) for each in found] == [
        (Folder, "to"),
        (LocalFile, "to/a"),
        (LocalFile, "to/b"),
        (LocalFile, "to/out"),
        (Folder, "to/in"),
        (LocalFile, "to/in/c"),
        (Link, "to/in/up"),
    ]
    with pytest.warns(UserWarning, match="left out"):
        assert [each.remote for each in walk(tmp_path / "top", "", False)] == ["a", "b", "out"]
    with pytest.raises(NotADirectoryError):
        list(walk(tmp_path / "outside", "", True))
