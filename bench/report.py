"""The table that people read and the JSON that is kept."""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured, the target if one is promised, and what stands beside it. `least` marks a rate, where more is better."""

    name: str
    value: float
    unit: str
    target: float | None
    beside: dict[str, float]
    least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the target is met; true where there is none."""
        if self.target is None:
            return True
        return self.value >= self.target if self.least else self.value <= self.target


def table(figures: list[Figure]) -> str:
    """The figures as text, one line each and one for everything beside it."""
    lines = [f"{'figure':<34} {'here':>12} {'target':>12}", "-" * 66]
    for figure in figures:
        sign = ">=" if figure.least else "<="
        target = "" if figure.target is None else f"{sign} {figure.target:,.0f}"
        mark = "" if figure.reached else "  missed"
        lines.append(f"{figure.name:<34} {_number(figure.value):>12} {target:>12} {figure.unit}{mark}")
        for name, value in figure.beside.items():
            ratio = f"{figure.value / value:.2f}x" if value else ""
            lines.append(f"    {name:<30} {_number(value):>12} {ratio:>12}")
    return "\n".join(lines)


def write(path: Path, machine: dict[str, Any], figures: list[Figure], raw: dict[str, Any]) -> None:
    """Keep everything that was measured, with what it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine,
        "figures": [{**dataclasses.asdict(figure), "reached": figure.reached} for figure in figures],
        "raw": raw,
    }
    path.write_text(json.dumps(kept, indent=2) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"
