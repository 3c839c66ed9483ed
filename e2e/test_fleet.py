"""Gateway and workers as processes of their own."""

import subprocess
from collections.abc import Generator

import pytest

from e2e.client import client, run_app
from e2e.fleet import Fleet
from e2e.host import left_on_host

LABELS = ["region=eu-west,cloud=lab", "region=us-east,cloud=lab,preemptible=true"]


@pytest.fixture(scope="module")
def fleet() -> Generator[Fleet]:
    """A gateway and two workers."""
    with Fleet.temporary(LABELS) as made:
        yield made


def test_batched_and_concurrent_maps_survive_gateway_restarts_and_a_killed_worker(fleet: Fleet, full: bool) -> None:
    count = 4000 if full else 400
    with client(fleet.gateway, run_app("fleet", "--count", str(count))) as program:
        program.until(f"result {count // 8} ")
        fleet.gateway.kill()
        fleet.gateway.start()
        region = program.until(f"result {count // 4} ").rpartition(" ")[2]
        busy = next(worker for worker, text in zip(fleet.workers, LABELS, strict=True) if f"region={region}," in text)
        busy.kill()
        program.until(f"result {count // 2} ")
        fleet.gateway.kill()
        fleet.gateway.start()
        busy.start()
        program.until("complete", seconds=600)
        program.finish()


def _fail_amid_a_map(made: list[Fleet]) -> None:
    with Fleet.temporary(LABELS) as fleet, client(fleet.gateway, run_app("crash::mapped", "--count", "400")) as program:
        made.append(fleet)
        program.until("result 50")
        assert all(left_on_host(daemon) for daemon in (fleet.gateway, *fleet.workers)), "the probe sees nothing of a running fleet"
        fleet.workers[0].kill()
        fleet.gateway.kill()
        raise InterruptedError


def test_nothing_is_left_of_a_fleet_whose_test_fails() -> None:
    made: list[Fleet] = []
    with pytest.raises(InterruptedError):
        _fail_amid_a_map(made)
    for daemon in (made[0].gateway, *made[0].workers):
        assert left_on_host(daemon) == []
    spaces = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert made[0].mark not in spaces
