"""The server's services by the names that the SDK has for them."""

from __future__ import annotations

# The module of each service in skerry._gen.skerry.v1, without its suffix, and the service in it.
SERVICES = {
    "apps": ("app", "AppService"),
    "blobs": ("blob", "BlobService"),
    "calls": ("call", "CallService"),
    "containers": ("container", "ContainerService"),
    "dicts": ("dict", "DictService"),
    "environments": ("environment", "EnvironmentService"),
    "files": ("filesystem", "FilesystemService"),
    "functions": ("function", "FunctionService"),
    "images": ("image", "ImageService"),
    "interpreters": ("interpreter", "InterpreterService"),
    "logs": ("log", "LogService"),
    "mounts": ("mount", "MountService"),
    "processes": ("process", "ProcessService"),
    "queues": ("queue", "QueueService"),
    "sandbox_watch": ("sandbox_watch", "SandboxWatchService"),
    "sandboxes": ("sandbox", "SandboxService"),
    "schedules": ("schedule", "ScheduleService"),
    "secrets": ("secret", "SecretService"),
    "sidecars": ("sidecar", "SidecarService"),
    "snapshots": ("snapshot", "SnapshotService"),
    "tokens": ("token", "TokenService"),
    "tunnels": ("tunnel", "TunnelService"),
    "volumes": ("volume", "VolumeService"),
}


def find_service(name: str) -> tuple[str, str]:
    """Return the module and the service of a name. Raises AttributeError for one there is not."""
    try:
        return SERVICES[name]
    except KeyError:
        raise AttributeError(f"the server has no service {name!r}") from None
