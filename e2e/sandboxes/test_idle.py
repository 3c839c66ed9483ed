"""Many sandboxes that do nothing, on a host that keeps others ready besides as long as it has memory for them."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import skerry

from e2e.client import sdk_of
from e2e.daemon import Daemon

# How many requests are under way at a time.
THREADS = 16


def test_idle_ones_have_room_and_answer(full: bool) -> None:
    count = 1000 if full else 12
    with Daemon.temporary() as daemon, sdk_of(daemon), ThreadPoolExecutor(THREADS) as pool:
        app = skerry.App.lookup("idle", create_if_missing=True)
        before = _in_use_mib()

        def create(number: int) -> skerry.Sandbox:
            made = skerry.Sandbox.create(app=app, timeout=3 * 3600, env={"NUMBER": str(number)})
            assert _number(made) == number
            return made

        made = list(pool.map(create, range(count)))
        per = (_in_use_mib() - before) / count
        # All are there at the end as at the beginning: none has been refused, lost or killed for memory.
        assert list(pool.map(_number, made)) == list(range(count))
        assert [each.poll() for each in made] == [None] * count
        print(f"{count} idle sandboxes: {per:.1f} MiB of the host for each, those that wait for others included")
        list(pool.map(_end, made))


def _end(sandbox: skerry.Sandbox) -> None:
    sandbox.terminate(wait=True)


def _number(sandbox: skerry.Sandbox) -> int:
    return int(sandbox.exec("sh", "-c", "echo $NUMBER").stdout.read())


def _in_use_mib() -> float:
    """Memory that the host could not give to others."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE))
    return (int(fields["MemTotal"]) - int(fields["MemAvailable"])) / 1024
