"""Images whose contents are not on the worker: what is read is fetched, and no more."""

from pathlib import Path

from e2e.apps.lazy import block
from e2e.fleet import Fleet
from e2e.host import left_on_host
from e2e.lazy import LARGE, SMALL, call, deploy, received

MIB = 1 << 20


def test_a_large_image_starts_like_a_small_one(full: bool) -> None:
    mib = 5000 if full else 400
    with Fleet.temporary([SMALL, LARGE]) as fleet:
        worker = fleet.workers[1]
        deploy(fleet, mib)
        before = received(worker)
        _, small = call(fleet, "start_small")
        _, large = call(fleet, "start_large")
        fetched = received(worker) - before
        print(f"first call of a small image {small:.2f} s, of one with {mib} MiB more {large:.2f} s; {fetched / MIB:.0f} MiB fetched")
        assert fetched < 200 * MIB
        if full:
            assert large <= 1.5 * small

        _damage_and_repair(fleet, mib)

        worker.kill()
        worker.start()
        assert not [line for line in left_on_host(worker) if "images/" in line], "mounts of the killed worker are left"
        before = received(worker)
        _, warm = call(fleet, "start_large")
        fetched = received(worker) - before
        print(f"after a restart of the worker {warm:.2f} s; {fetched / MIB:.1f} MiB fetched")
        assert fetched < 8 * MIB


def _damage_and_repair(fleet: Fleet, mib: int) -> None:
    """Takes the blob store away while a container reads, and brings it back."""
    assert call(fleet, "read_block", 7)[0] == block(7)
    blobs = fleet.gateway.data / "blobs/sha256"
    away = Path(f"{blobs}.away")
    blobs.rename(away)
    try:
        # Far from what was read, and so fetched ahead, before.
        assert call(fleet, "read_block", mib - 50)[0].startswith("OSError")
        assert call(fleet, "read_block", 7)[0] == block(7), "what the worker has is not read any more"
    finally:
        away.rename(blobs)
    assert call(fleet, "read_block", mib - 50)[0] == block(mib - 50)
    assert "read of an image failed" in fleet.workers[1].log(lines=200)
