"""Kills of everything that a volume passes through, at any point, in any mixture."""

import random
import secrets
import threading
from collections.abc import Callable

from e2e.client import client, run_app
from e2e.daemon import Daemon
from e2e.fleet import Fleet
from e2e.processes import kill, running


def _kill_a_container(worker: Daemon, chance: random.Random) -> None:
    sentries = sorted(running("runsc-sandbox", f"/run/skerry/{worker.instance}/"))
    if sentries:
        kill([chance.choice(sentries)])


def _kill_volumes(worker: Daemon) -> None:
    kill(running(" volumes {", str(worker.data)))


def test_nothing_committed_is_lost_whatever_is_killed(full: bool) -> None:
    kills, writers = (120, 6) if full else (12, 3)
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    with Fleet.temporary(["", ""]) as fleet:
        killers: list[Callable[[], None]] = [fleet.gateway.kill]
        for worker in fleet.workers:
            killers += [worker.kill, lambda worker=worker: _kill_volumes(worker), lambda worker=worker: _kill_a_container(worker, chance)]
        argv = run_app("volume_writers", "--seed", str(seed), "--writers", str(writers))
        with client(fleet.gateway, argv, told=True) as program:
            program.until("turn 10 ", seconds=300)
            for _ in range(kills):
                program.until("turn ", times=chance.randint(1, 12))
                # Somewhere in what follows: where exactly is up to what the machine does besides.
                threading.Event().wait(chance.random() / 10)
                for each in chance.sample(killers, chance.choice((1, 1, 2, 3))):
                    each()
                fleet.gateway.start()
                for worker in fleet.workers:
                    worker.start()
            program.tell("calm")
            program.until("complete", seconds=600)
            program.finish()
