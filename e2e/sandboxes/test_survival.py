"""Sandboxes outlive every process of Skerry that is killed."""

import json
import random
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
import skerry
from skerry.exception import ConflictError

from e2e.client import client
from e2e.daemon import ROOT, Daemon
from e2e.fleet import Fleet
from e2e.processes import kill, running

from .conftest import Make
from .remains import boxes


def _kill_box(worker: Daemon, sandbox: str) -> None:
    """End all of a sandbox's processes on the host."""
    [record] = worker.data.glob(f"**/{sandbox}.json")
    pids = running(json.loads(record.read_text())["Box"]["Spec"]["ID"])
    assert pids, f"no process of {sandbox}"
    kill(pids)


def _survive(gateway: Daemon, worker: Daemon, killed: list[Daemon]) -> None:
    with client(gateway, [str(ROOT / ".venv/bin/python"), "-m", "e2e.sandboxes.held"], told=True) as program:
        victim = program.until("open ").split()[1]
        for each in killed:
            each.kill()
        _kill_box(worker, victim)
        for each in killed:
            each.start()
        program.tell("")
        program.until("complete")


def test_sandboxes_go_on_where_all_is_killed(daemon: Daemon) -> None:
    _survive(daemon, daemon, [daemon])


@pytest.fixture(scope="module")
def fleet() -> Generator[Fleet]:
    """A gateway and a worker."""
    with Fleet.temporary([""]) as made:
        yield made


@pytest.mark.parametrize("killed", ["worker", "gateway", "both"])
def test_sandboxes_go_on_where_a_part_is_killed(fleet: Fleet, killed: str) -> None:
    daemons = {"worker": fleet.workers, "gateway": [fleet.gateway], "both": [fleet.gateway, *fleet.workers]}
    _survive(fleet.gateway, fleet.workers[0], daemons[killed])


def _is_usable(sandbox: skerry.Sandbox, number: int) -> bool:
    try:
        return sandbox.exec("echo", str(number)).stdout.read() == f"{number}\n"
    except ConflictError:
        return False


def test_creations_stand_kills_at_any_point(daemon: Daemon, make: Make, app: skerry.App, full: bool) -> None:
    make().terminate(wait=True)
    before = boxes(daemon)
    for _ in range(10 if full else 2):
        point = threading.Semaphore(0)

        with ThreadPoolExecutor(20) as pool:
            creations = [pool.submit(make) for _ in range(20)]
            for creation in creations:
                creation.add_done_callback(lambda _, point=point: point.release())
            for _ in range(random.randrange(20)):
                point.acquire()
            daemon.kill()
            daemon.start()
        made = [creation.result() for creation in creations]
        known = {each.object_id for each in skerry.Sandbox.list(app_id=app.app_id)}
        for number, each in enumerate(made):
            if not _is_usable(each, number):
                assert each.info().end_reason == "start_failed", each.info()
                known.add(each.object_id)
        assert known == {each.object_id for each in made}
        for each in made:
            each.terminate(wait=True)
        assert boxes(daemon) == before
