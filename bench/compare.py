"""`make bench-compare REV=...`: this tree against another revision, both running, measured in turn so that the machine's moods hit both."""

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench import machine
from bench.report import Figure, table, write
from e2e.daemon import Daemon

ROOT = machine.ROOT


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is asked of both sides in every round. `least` marks a rate, where more is better."""

    key: str
    name: str
    count: int
    unit: str
    least: bool = False


MEASUREMENTS = (
    Measurement("warm", "warm .remote(), p50", 500, "ms"),
    Measurement("map", ".map, two containers", 20_000, "calls/s", least=True),
    Measurement("cold", "cold start, 0 to first result", 1, "ms"),
)


class Side:
    """A tree whose skerryd runs, with a client that measures on demand."""

    def __init__(self, client: subprocess.Popen[str]) -> None:
        self._client = client
        self.figures: dict[str, list[float]] = {m.key: [] for m in MEASUREMENTS}

    @classmethod
    @contextlib.contextmanager
    def running(cls, tree: Path) -> Generator["Side"]:
        """The side of a tree that is built; all it started is gone afterwards."""
        with Daemon.temporary(tree) as daemon:
            argv = [str(tree / ".venv/bin/python"), "-m", "bench.contender"]
            env = {**os.environ, **daemon.env}
            with subprocess.Popen(argv, cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                side = cls(client)
                if side._line() != "ready":
                    raise RuntimeError(f"{tree}: the client did not start")
                yield side
                client.communicate()

    def measure(self, m: Measurement) -> None:
        """Add one figure."""
        assert self._client.stdin is not None
        self._client.stdin.write(f"{m.key} {m.count}\n")
        self._client.stdin.flush()
        self.figures[m.key].append(float(self._line()))

    def _line(self) -> str:
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError("the client of a side has ended; its error is above")
        return line.strip()


def main() -> int:
    """Exit code 0 whatever the figures: they are compared by people, not asserted."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    _say(f"building {options.revision}")
    made = subprocess.run(["tools/sh/revision.sh", options.revision], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    other = ROOT / made.stdout.strip()
    with Side.running(other) as before, Side.running(ROOT) as now:
        for number in range(options.rounds):
            # Who comes first changes, for the second finds the machine as the first has left it.
            pair = (before, now) if number % 2 == 0 else (now, before)
            for measurement in MEASUREMENTS:
                for side in pair:
                    side.measure(measurement)
            _say(f"round {number + 1} of {options.rounds}: " + "; ".join(_round(m, before, now) for m in MEASUREMENTS))
    figures = [_figure(m, before, now, other.name) for m in MEASUREMENTS]
    raw: dict[str, Any] = {"revision": other.name, "before": before.figures, "now": now.figures}
    out = ROOT / "bench/out/compare.json"
    write(out, machine.describe(), figures, raw)
    print(table(figures))
    for m in MEASUREMENTS:
        ratios = _ratios(m, before, now)
        print(f"{m.name}: now / before, median of the rounds {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"written to {out.relative_to(ROOT)}")
    return 0


def _ratios(m: Measurement, before: Side, now: Side) -> list[float]:
    return [b / a for a, b in zip(before.figures[m.key], now.figures[m.key], strict=True)]


def _round(m: Measurement, before: Side, now: Side) -> str:
    return f"{m.key} {before.figures[m.key][-1]:,.2f} -> {now.figures[m.key][-1]:,.2f} {m.unit}"


def _figure(m: Measurement, before: Side, now: Side, revision: str) -> Figure:
    """Medians of both sides."""
    beside = {f"at {revision}": statistics.median(before.figures[m.key])}
    return Figure(m.name, statistics.median(now.figures[m.key]), m.unit, None, beside, least=m.least)


def _say(what: str) -> None:
    print(f"  ..  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
