"""What the server says about sandboxes, as plain values."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

from skerry import types
from skerry._gen.skerry.v1 import filesystem_pb
from skerry._gen.skerry.v1.sandbox_info_pb import SandboxEndReason, SandboxState
from skerry._gen.skerry.v1.sandbox_watch_pb import SandboxEventType

if TYPE_CHECKING:
    from protobuf.wkt import Duration, Timestamp

    from skerry._gen.skerry.v1 import process_pb, sandbox_info_pb, sandbox_watch_pb

_STATES = {
    SandboxState.STARTING: "starting",
    SandboxState.RUNNING: "running",
    SandboxState.PAUSED: "paused",
    SandboxState.ENDED: "ended",
}
_REASONS = {
    SandboxEndReason.EXITED: "exited",
    SandboxEndReason.TIMEOUT: "timeout",
    SandboxEndReason.IDLE_TIMEOUT: "idle_timeout",
    SandboxEndReason.TERMINATED: "terminated",
    SandboxEndReason.OUT_OF_MEMORY: "out_of_memory",
    SandboxEndReason.START_FAILED: "start_failed",
    SandboxEndReason.LOST: "lost",
}
_EVENTS = {
    SandboxEventType.CREATED: "created",
    SandboxEventType.STARTED: "started",
    SandboxEventType.READY: "ready",
    SandboxEventType.PAUSED: "paused",
    SandboxEventType.RESUMED: "resumed",
    SandboxEventType.ENDED: "ended",
    SandboxEventType.UPDATED: "updated",
    SandboxEventType.SNAPSHOT: "snapshot",
    SandboxEventType.RECOVERED: "recovered",
}
_FILE_TYPES = {
    filesystem_pb.FileType.FILE: (types.FileType.FILE, stat.S_IFREG),
    filesystem_pb.FileType.DIRECTORY: (types.FileType.DIRECTORY, stat.S_IFDIR),
    filesystem_pb.FileType.SYMLINK: (types.FileType.SYMLINK, stat.S_IFLNK),
}
_FILE_EVENTS = {
    filesystem_pb.FileEventType.ACCESS: types.FileWatchEventType.Access,
    filesystem_pb.FileEventType.CREATE: types.FileWatchEventType.Create,
    filesystem_pb.FileEventType.MODIFY: types.FileWatchEventType.Modify,
    filesystem_pb.FileEventType.REMOVE: types.FileWatchEventType.Remove,
}


def moment(stamp: Timestamp | None) -> datetime | None:
    """Return a time in UTC; None where there is none."""
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp.seconds, timezone.utc) + timedelta(microseconds=stamp.nanos // 1000)


def seconds(span: Duration | None) -> float:
    """Return a duration in seconds."""
    return 0.0 if span is None else span.seconds + span.nanos / 1e9


def sandbox_info(info: sandbox_info_pb.SandboxInfo) -> types.SandboxInfo:
    """Return a sandbox."""
    end = info.end
    return types.SandboxInfo(
        sandbox_id=info.sandbox_id,
        app_id=info.app_id,
        name=info.name or None,
        tags=dict(info.tags),
        state=cast("Any", _STATES.get(info.state, "running")),
        ready=info.ready,
        image_id=info.image_id,
        owner=info.owner or None,
        environment=info.environment,
        worker_id=info.worker_id,
        created_at=moment(info.created_at),
        expires_at=moment(info.expires_at),
        ended_at=None if end is None else moment(end.ended_at),
        end_reason=None if end is None else cast("Any", _REASONS.get(end.reason)),
        end_message="" if end is None else end.message,
        returncode=None if end is None else end.return_code,
    )


def process_info(info: process_pb.ProcessInfo) -> types.ProcessInfo:
    """Return a process that was started."""
    exited = info.exited
    return types.ProcessInfo(
        process_id=info.process_id,
        pid=info.pid,
        args=list(info.argv),
        workdir=info.workdir,
        pty=info.pty,
        started_at=moment(info.started_at),
        returncode=None if exited is None else -1 if exited.timed_out else exited.exit_code,
        stdout_size=info.stdout_size,
        stderr_size=info.stderr_size,
    )


def system_process_info(info: process_pb.SystemProcess) -> types.SystemProcessInfo:
    """Return a process of the system."""
    return types.SystemProcessInfo(
        pid=info.pid,
        parent_pid=info.parent_pid,
        args=list(info.argv),
        cpu_seconds=seconds(info.cpu_time),
        memory_bytes=info.memory_bytes,
    )


def file_info(info: filesystem_pb.FileInfo) -> types.FileInfo:
    """Return a file."""
    kind, bits = _FILE_TYPES.get(info.type, (types.FileType.OTHER, 0))
    shown = stat.filemode(bits | info.mode)
    return types.FileInfo(
        name=info.name,
        path=info.path,
        type=kind,
        size=info.size,
        mode=info.mode,
        permissions=shown,
        owner=info.owner,
        group=info.group,
        modified_time=moment(info.modified_at) or datetime.fromtimestamp(0, timezone.utc),
        symlink_target=info.symlink_target or None,
    )


def file_event(response: filesystem_pb.WatchFilesResponse) -> types.FileWatchEvent:
    """Return what happened to a file."""
    kind = _FILE_EVENTS.get(response.type, types.FileWatchEventType.Unknown)
    return types.FileWatchEvent(paths=list(response.paths), type=kind)


def file_event_filter(wanted: types.FileWatchEventType) -> filesystem_pb.FileEventType:
    """Return what the server calls a kind of event."""
    for theirs, ours in _FILE_EVENTS.items():
        if ours is wanted:
            return theirs
    return filesystem_pb.FileEventType.UNSPECIFIED


def sandbox_event(response: sandbox_watch_pb.StreamSandboxEventsResponse) -> types.SandboxEvent:
    """Return what happened to a sandbox."""
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxInfo

    return types.SandboxEvent(
        type=cast("Any", _EVENTS.get(response.type, "unknown")),
        time=moment(response.time) or datetime.fromtimestamp(0, timezone.utc),
        sandbox=sandbox_info(response.sandbox or SandboxInfo()),
        object_id=response.object_id or None,
    )


def metrics(response: sandbox_watch_pb.StreamSandboxMetricsResponse) -> types.SandboxMetrics:
    """Return what a sandbox uses."""
    return types.SandboxMetrics(
        time=moment(response.time) or datetime.fromtimestamp(0, timezone.utc),
        cpu_seconds=seconds(response.cpu_time),
        cpu_limit=response.cpu_limit_milli / 1000 or None,
        memory_bytes=response.memory_bytes,
        memory_limit_bytes=response.memory_limit_bytes or None,
        disk_bytes=response.disk_bytes,
        disk_limit_bytes=response.disk_limit_bytes,
        network_received_bytes=response.network_received_bytes,
        network_sent_bytes=response.network_sent_bytes,
        processes=response.processes,
    )
