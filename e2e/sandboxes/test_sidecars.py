"""Sidecars: what they share with their sandbox, and what is left when both have ended."""

# pyright: reportPrivateUsage=false

import pytest
import skerry
from skerry.exception import InvalidError, NotFoundError, SandboxTerminatedError
from skerry.sandbox import SidecarContainer

from e2e.daemon import Daemon

from .conftest import Make


def _say(container: skerry.Sandbox | SidecarContainer, line: str) -> str:
    process = container.exec("sh", "-c", line)
    text = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return text


def test_volumes(make: Make, daemon: Daemon) -> None:
    image = skerry.Image.debian_slim()
    with skerry.Volume.ephemeral() as both, skerry.Volume.ephemeral() as own:
        sandbox = make(volumes={"/both": both})
        side = sandbox._experimental_sidecars.create(
            name="side", image=image, volumes={"/there": both, "/own": own.with_mount_options(sub_path="part")}
        )
        assert _say(side, "echo there > /there/a; echo own > /own/b; cat /there/a /own/b") == "there\nown\n"
        # One mount for both: nothing has to be committed for the other to see it.
        assert _say(sandbox, "cat /both/a; echo here > /both/a; test ! -e /own") == "there\n"
        assert _say(side, "cat /there/a") == "here\n"
        daemon.kill()
        daemon.start()
        assert _say(side, "cat /there/a /own/b; echo more >> /own/b") == "here\nown\n"

        with own.batch_upload(force=True) as batch:
            batch.put_file(__file__, "part/sent")
        assert _say(side, "ls /own") == "b\n"
        holder = side.exec("sh", "-c", "exec 3< /own/b; echo open; read go")
        assert next(iter(holder.stdout)) == "open\n"
        with pytest.raises(RuntimeError, match=r"path /own/b is open from 'sh -c exec"):
            side.reload_volumes()
        sandbox.reload_volumes()  # which is of other volumes
        holder.stdin.write_eof()
        holder.stdin.drain()
        holder.wait()
        side.reload_volumes()
        assert _say(side, "ls /own") == "b\nsent\n"
        assert b"".join(both.read_file("a")) == b"here\n"

        _say(side, "echo last > /there/a; echo last > /own/b")
        assert side.terminate(wait=True) == 137
        assert b"".join(both.read_file("a")) + b"".join(own.read_file("part/b")) == b"last\nlast\n"
        with pytest.raises(InvalidError, match="mounted there"):
            sandbox._experimental_sidecars.create(name="wrong", image=image, volumes={"/root": own})
        gone = skerry.Volume.from_name("no-volume-of-this-name")
        with pytest.raises(NotFoundError):
            sandbox._experimental_sidecars.create(name="wrong", image=image, volumes={"/data": gone})


def test_after_the_sandbox(make: Make, daemon: Daemon) -> None:
    image = skerry.Image.debian_slim()
    sandbox = make()
    sidecars = sandbox._experimental_sidecars
    exits = sidecars.create("sh", "-c", "exit 5", name="exits", image=image)
    assert exits.wait() == 5
    runs, halted = (sidecars.create(name=name, image=image) for name in ("runs", "halted"))
    assert halted.terminate(wait=True) == 137
    sandbox.terminate(wait=True)
    for restart in (False, True):
        if restart:  # which makes sure that the worker has nothing of the sandbox any more
            daemon.kill()
            daemon.start()
        assert sidecars.list() == []
        assert [each.object_id for each in sidecars.list(include_terminated=True)] == [each.object_id for each in (exits, runs, halted)]
        found = {name: sidecars.get(name=name, include_terminated=True) for name in ("exits", "runs", "halted")}
        assert {name: each.poll() for name, each in found.items()} == {"exits": 5, "runs": 137, "halted": 137}
        assert found["exits"].wait() == 5
        assert found["runs"].wait(raise_on_termination=False) == 137
        with pytest.raises(SandboxTerminatedError, match="its sandbox has ended"):
            found["runs"].wait()
        assert found["runs"].terminate(wait=True) == 137
        with pytest.raises(NotFoundError, match="no sidecar 'none'"):
            sidecars.get(name="none", include_terminated=True)
    assert runs.poll() == 137  # a handle that has not asked before


def test_snapshot_is_of_the_sandbox_alone(make: Make) -> None:
    sandbox = make()
    side = sandbox._experimental_sidecars.create(name="side", image=skerry.Image.debian_slim())
    _say(side, "echo side > /srv/side; echo side > /srv/both")
    _say(sandbox, "echo main > /srv/both")
    copy = make(image=sandbox.snapshot_filesystem())
    assert _say(copy, "ls /srv; cat /srv/both") == "both\nmain\n"
    assert _say(side, "ls /srv; cat /srv/both") == "both\nside\nside\n"
