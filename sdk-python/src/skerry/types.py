"""Plain values that Skerry returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeAlias

    from ._objects.infos import DictInfo as DictInfo  # noqa: PLC0414
    from ._objects.infos import QueueInfo as QueueInfo  # noqa: PLC0414
    from ._objects.infos import SecretInfo as SecretInfo  # noqa: PLC0414
    from ._volume.values import FileEntry as FileEntry  # noqa: PLC0414
    from ._volume.values import FileEntryType as FileEntryType  # noqa: PLC0414
    from ._volume.values import VolumeCreateOptions as VolumeCreateOptions  # noqa: PLC0414
    from ._volume.values import VolumeInfo as VolumeInfo  # noqa: PLC0414
    from ._volume.values import VolumeVersion as VolumeVersion  # noqa: PLC0414


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


class FileType(str, Enum):
    """What kind of file."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"
    """A socket, a pipe, a device."""


@dataclass(frozen=True)
class FileInfo:
    """A file in a sandbox."""

    name: str
    """The last part of its path."""
    path: str
    """Its path."""
    type: FileType
    """What it is."""
    size: int
    """Bytes."""
    mode: int
    """Permission bits, with set-id and sticky bits."""
    permissions: str
    """The same as ``ls -l`` shows it, such as "-rw-r--r--"."""
    owner: str
    """Its owner's name, or number where it has none."""
    group: str
    """Its group's name, or number."""
    modified_time: datetime
    """When its content changed, in UTC."""
    symlink_target: str | None = None
    """Where a symbolic link leads."""

    def is_file(self) -> bool:
        """Tell whether it is a plain file."""
        return self.type is FileType.FILE

    def is_dir(self) -> bool:
        """Tell whether it is a directory."""
        return self.type is FileType.DIRECTORY

    def is_symlink(self) -> bool:
        """Tell whether it is a symbolic link."""
        return self.type is FileType.SYMLINK


class FileWatchEventType(str, Enum):
    """What happened to a file."""

    Unknown = "Unknown"
    """Something else, such as events that were lost: look yourself."""
    Access = "Access"
    """It was read."""
    Create = "Create"
    """It is new."""
    Modify = "Modify"
    """Its content, its attributes or its name changed."""
    Remove = "Remove"
    """It is gone."""


@dataclass(frozen=True)
class FileWatchEvent:
    """Something that happened to a file in a sandbox."""

    paths: list[str]
    """The file; of a rename the old path and the new one."""
    type: FileWatchEventType
    """What happened."""


class SandboxConnectCredentials(NamedTuple):
    """The way into a port of a sandbox by HTTP or WebSocket."""

    url: str
    """Where."""
    token: str
    """What to send with each request: ``Authorization: Bearer TOKEN``."""


@dataclass(frozen=True)
class ProcessInfo:
    """A process that was started in a sandbox by ``exec``, or its own command."""

    process_id: str
    """Its id, for ``Sandbox.process``; "main" is the sandbox's own command."""
    pid: int
    """Its PID in the sandbox."""
    args: list[str]
    """Program and arguments."""
    workdir: str
    """Where it was started."""
    pty: bool
    """Whether it has a terminal."""
    started_at: datetime | None
    """When it was started, in UTC."""
    returncode: int | None
    """Its exit code; None while it runs; -1 where its timeout passed."""
    stdout_size: int
    """Bytes that it has written to standard output."""
    stderr_size: int
    """Bytes that it has written to standard error."""


@dataclass(frozen=True)
class SystemProcessInfo:
    """A process of a sandbox's system, whoever started it."""

    pid: int
    """Its PID."""
    parent_pid: int
    """Its parent's."""
    args: list[str]
    """Its command line."""
    cpu_seconds: float
    """Processor time so far."""
    memory_bytes: int
    """Resident memory."""


@dataclass(frozen=True)
class SandboxInfo:
    """A sandbox at one moment."""

    sandbox_id: str
    """The sandbox, "sb-..."."""
    app_id: str
    """Its app, "ap-..."."""
    name: str | None
    """Its name."""
    tags: dict[str, str]
    """Its tags."""
    state: Literal["starting", "running", "paused", "ended"]
    """Where it is in its life."""
    ready: bool
    """Whether its readiness probe has succeeded."""
    image_id: str
    """Its image, "im-..."."""
    owner: str | None
    """Who it belongs to; see ``Sandbox.prune``."""
    environment: str
    """The environment of its app."""
    worker_id: str
    """The worker it is on."""
    created_at: datetime | None
    """When it was asked for, in UTC."""
    expires_at: datetime | None
    """When it ends at the latest; None while it is paused."""
    ended_at: datetime | None
    """When it ended."""
    end_reason: (
        Literal["exited", "timeout", "idle_timeout", "terminated", "out_of_memory", "start_failed", "lost"] | None
    )
    """Why it ended."""
    end_message: str
    """What is known of that, in words."""
    returncode: int | None
    """The exit code of its command, 124 for a timeout, 137 where it was ended."""


@dataclass(frozen=True)
class SandboxMetrics:
    """What a sandbox uses at one moment."""

    time: datetime
    """When it was measured, in UTC."""
    cpu_seconds: float
    """Processor time so far."""
    cpu_limit: float | None
    """The most cores it may use; None: the worker's."""
    memory_bytes: int
    """Memory in use."""
    memory_limit_bytes: int | None
    """The most memory; None: the worker's."""
    disk_bytes: int
    """Bytes written to its file system."""
    disk_limit_bytes: int
    """The most of these."""
    network_received_bytes: int
    """Bytes received from the network."""
    network_sent_bytes: int
    """Bytes sent to the network."""
    processes: int
    """How many processes there are."""


@dataclass(frozen=True)
class SandboxEvent:
    """Something that happened to a sandbox."""

    type: Literal[
        "created", "started", "ready", "paused", "resumed", "ended", "updated", "snapshot", "recovered", "unknown"
    ]
    """What; "recovered": its worker is back after its link was lost."""
    time: datetime
    """When, in UTC."""
    sandbox: SandboxInfo
    """The sandbox as it was then."""
    object_id: str | None
    """Of "snapshot": the image "im-..." or the snapshot "sn-..."."""


_LATER = frozenset(
    {
        "BillingReportItem",
        "EnvironmentBillingSummary",
        "ProxyTokenInfo",
        "ServerAutoscalerSettings",
        "TokenData",
        "WorkspaceBillingSummary",
        "WorkspaceMemberInfo",
        "WorkspaceSettings",
    }
)


# What lives beside the noun that it is about.
_HOMES = {
    "DictInfo": "_objects.infos",
    "QueueInfo": "_objects.infos",
    "SecretInfo": "_objects.infos",
    "FileEntry": "_volume.values",
    "FileEntryType": "_volume.values",
    "VolumeCreateOptions": "_volume.values",
    "VolumeInfo": "_volume.values",
    "VolumeVersion": "_volume.values",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        globals()[name] = found = getattr(import_module(f".{_HOMES[name]}", "skerry"), name)
        return found
    if name not in _LATER:
        raise AttributeError(f"module 'skerry.types' has no attribute {name!r}")
    from ._later import later

    globals()[name] = value = later(f"types.{name}")
    return value
