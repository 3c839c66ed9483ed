"""Many sandboxes, at once and one after another."""

from concurrent.futures import ThreadPoolExecutor

import skerry

from e2e.daemon import Daemon

from .conftest import Make
from .remains import boxes, networks, records, resident_mib

# How much more skerryd may hold in the second half of a run than in the first, in MiB.
SLACK = 48


def test_many_at_once_each_with_another_command(make: Make, full: bool) -> None:
    count = 100 if full else 20

    def create(number: int) -> skerry.Sandbox:
        n = number
        return make("sh", "-c", f"read x; echo {n} squared is $(({n} * {n})) $x; exit {n}")

    with ThreadPoolExecutor(count) as pool:
        made = list(pool.map(create, range(count)))
        # All run at the same time: each waits for a line.
        for each in made:
            assert each.poll() is None
        for number, each in enumerate(made):
            each.stdin.write(f"given {number}\n")
            each.stdin.drain()
        outputs = list(pool.map(_outcome, made, range(count)))
    assert outputs == [f"{n} squared is {n * n} given {n}\n" for n in range(count)]


def _outcome(sandbox: skerry.Sandbox, number: int) -> str:
    sandbox.wait(raise_on_termination=False)
    assert sandbox.returncode == number
    return sandbox.stdout.read()


def test_nothing_is_left_of_one_after_another(daemon: Daemon, make: Make, full: bool) -> None:
    count = 1000 if full else 30
    make().terminate(wait=True)
    before, spaces = boxes(daemon), networks(daemon)
    resident: list[float] = []
    for number in range(count):
        sandbox = make()
        assert sandbox.exec("echo", str(number)).stdout.read() == f"{number}\n"
        assert sandbox.terminate(wait=True) == 137
        if number % (count // 10) == 0:
            resident.append(resident_mib(daemon.pid))
    print(f"{count} sandboxes; resident MiB of skerryd at each tenth: " + " ".join(f"{mib:.0f}" for mib in resident))
    assert boxes(daemon) == before
    # As many are kept ready as at the beginning, or a few are just being made.
    assert networks(daemon) <= spaces + 8
    assert records(daemon) < 10
    assert max(resident[5:]) - max(resident[:5]) < SLACK, f"memory of skerryd grows: {resident}"
