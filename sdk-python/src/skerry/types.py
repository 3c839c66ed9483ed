"""Plain values that Skerry returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class FunctionStats(NamedTuple):
    """Counts of a function's work at one moment."""

    backlog: int
    """Inputs that wait for a container."""
    num_total_runners: int
    """Containers that start or run."""
    num_running_inputs: int
    """Inputs that run."""
    input_headroom: int
    """Inputs that could run at once without another container."""


class LogEntry(NamedTuple):
    """One piece of output of a container."""

    message: str
    """A line with its end, or a last piece without."""
    timestamp: datetime
    """When it was read, in UTC."""
    source: str
    """stdout, stderr or system."""
    function_name: str
    """The function's name."""
    function_id: str
    """The function, "fu-..."."""
    container_id: str
    """The container, "ta-..."."""

    def __str__(self) -> str:
        return self.message


class FunctionAutoscalerSettings(NamedTuple):
    """Bounds of the number of a function's containers."""

    min_containers: int
    """Containers kept even when idle."""
    max_containers: int
    """Most containers; 0: no limit."""
    scaledown_window: int
    """Seconds an idle container is kept."""
    buffer_containers: int
    """Idle containers kept ready while there is work."""


class AppInfo(NamedTuple):
    """A deployed app."""

    app_id: str
    """The app, "ap-..."."""
    name: str
    """The name it is deployed under."""
    containers: int
    """Containers that start or run."""


class AppLifecycle(NamedTuple):
    """Where an app is in its life."""

    app_id: str
    """The app, "ap-..."."""
    state: str
    """initializing, ephemeral, detached, deployed, stopping or stopped."""
    created_at: datetime | None
    """When it was made, in UTC."""
    stopped_at: datetime | None
    """When it stopped; None while it lives."""
