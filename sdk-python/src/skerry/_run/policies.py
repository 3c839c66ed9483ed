"""Policies of functions as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf import Oneof
from protobuf.wkt import Duration

from skerry._gen.skerry.v1 import options_pb, schedule_pb
from skerry.exception import InvalidError
from skerry.retries import Retries
from skerry.schedule import Cron, Period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry._objects.partial import Batching, Concurrency
    from skerry.schedule import Schedule


def duration(seconds: float) -> Duration:
    """Return seconds as a message."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def retries_of(value: int | Retries | None) -> options_pb.RetryPolicy | None:
    """Return a retry policy; None for none. Raises InvalidError."""
    policy = Retries.of(value)
    if policy is None:
        return None
    return options_pb.RetryPolicy(
        max_retries=policy.max_retries,
        initial_delay=duration(policy.initial_delay),
        backoff_coefficient=policy.backoff_coefficient,
        max_delay=duration(policy.max_delay),
    )


def placement_of(region: str | Sequence[str] | None, cloud: str | None, nonpreemptible: bool) -> options_pb.Placement:
    """Return where containers may be. Raises InvalidError."""
    regions = [region] if isinstance(region, str) else list(region or [])
    if not all(isinstance(r, str) for r in regions):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"region={region!r}: want a name or a list of names")
    if cloud is not None and not isinstance(cloud, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"cloud={cloud!r}: want a name")
    clouds = [cloud] if cloud and cloud != "auto" else []
    return options_pb.Placement(regions=regions, clouds=clouds, nonpreemptible=nonpreemptible)


def concurrency_of(setting: Concurrency) -> options_pb.Concurrency:
    """Return how many inputs run at a time."""
    return options_pb.Concurrency(max_inputs=setting.max_inputs, target_inputs=setting.target_inputs or 0)


def batching_of(setting: Batching) -> options_pb.Batching:
    """Return how inputs are run together."""
    return options_pb.Batching(max_batch_size=setting.max_batch_size, wait=duration(setting.wait_ms / 1000))


def schedule_of(schedule: Schedule) -> schedule_pb.Schedule:
    """Return when a function is called by itself."""
    if isinstance(schedule, Cron):
        cron = schedule_pb.Cron(expression=schedule.cron_string, timezone=schedule.timezone)
        return schedule_pb.Schedule(kind=Oneof("cron", cron))
    assert isinstance(schedule, Period)  # noqa: S101 - the options were checked
    units = {name: getattr(schedule, name) for name in Period.__slots__}
    units["seconds"] = float(units["seconds"])
    return schedule_pb.Schedule(kind=Oneof("period", schedule_pb.Period(**units)))
