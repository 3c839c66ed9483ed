"""Gateway and workers as processes of their own."""

from collections.abc import Generator

import pytest

from e2e.client import client, run_app
from e2e.fleet import Fleet


@pytest.fixture(scope="module")
def fleet() -> Generator[Fleet]:
    """A gateway and two workers."""
    with Fleet.temporary(["region=eu-west,cloud=lab", "region=us-east,cloud=lab,preemptible=true"]) as made:
        yield made


def test_batched_and_concurrent_maps_survive_gateway_restarts_and_a_killed_worker(fleet: Fleet, full: bool) -> None:
    count = 4000 if full else 400
    with client(fleet.gateway, run_app("fleet", "--count", str(count))) as program:
        program.until(f"result {count // 8}")
        fleet.gateway.kill()
        fleet.gateway.start()
        program.until(f"result {count // 4}")
        fleet.workers[0].kill()
        program.until(f"result {count // 2}")
        fleet.gateway.kill()
        fleet.gateway.start()
        fleet.workers[0].start()
        program.until("complete", seconds=600)
        program.finish()
