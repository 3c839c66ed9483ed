"""Plain values that Skerry returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeAlias


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


class InputStatus(IntEnum):
    """Where an input stands."""

    PENDING = 0
    """It waits or runs, or nothing is known of it any more."""
    SUCCESS = 1
    """The function returned."""
    FAILURE = 2
    """The function raised, or its container ended."""
    INIT_FAILURE = 3
    """Its container could not start."""
    TERMINATED = 4
    """It was cancelled."""
    TIMEOUT = 5
    """It ran longer than the function's timeout."""

    @classmethod
    def _missing_(cls, value: object) -> InputStatus:
        del value
        return cls.PENDING


@dataclass
class InputInfo:
    """An input in a graph of calls, with the inputs of the calls that it made."""

    input_id: str
    """The input, "in-..."."""
    function_call_id: str
    """Its call, "fc-..."."""
    task_id: str
    """The container that it runs or ran in, "ta-..."; empty: none yet, or not known any more."""
    status: InputStatus
    """Where it stands."""
    function_name: str
    """Its function, with the method's name behind a dot where it is a class."""
    module_name: str
    """The function's module; empty where it is not known."""
    children: list[InputInfo]
    """The inputs of the calls that it made."""


LogSource: TypeAlias = Literal["stdout", "stderr", "system"]
"""Which stream output came from; "system" is Skerry itself."""


@dataclass(frozen=True)
class LogEntry:
    """One piece of output of a container. ``str(entry)`` is the message."""

    message: str
    """A line with its end, or a last piece without."""
    timestamp: datetime
    """When it was read, in UTC."""
    source: LogSource
    """Where from."""
    object_id: str
    """The function that wrote it, "fu-..."."""
    context_ids: tuple[str, ...]
    """The container, "ta-...", and, where it is known, the call "fc-..." and the input "in-..." that it was written for."""

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


_LATER = frozenset(
    {
        "BillingReportItem",
        "DictInfo",
        "EnvironmentBillingSummary",
        "FileEntry",
        "FileEntryType",
        "FileInfo",
        "FileType",
        "FileWatchEvent",
        "FileWatchEventType",
        "ProxyTokenInfo",
        "QueueInfo",
        "SandboxConnectCredentials",
        "SecretInfo",
        "ServerAutoscalerSettings",
        "TokenData",
        "VolumeCreateOptions",
        "VolumeInfo",
        "WorkspaceBillingSummary",
        "WorkspaceMemberInfo",
        "WorkspaceSettings",
    }
)


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'skerry.types' has no attribute {name!r}")
    from ._later import later

    globals()[name] = value = later(f"types.{name}")
    return value
