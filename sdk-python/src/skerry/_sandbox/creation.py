"""How a sandbox is made: what was asked for is checked, what it needs is brought to the server, and then it is asked for."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.client import shared_client
from skerry._context import is_local, started
from skerry._gen.skerry.v1 import sandbox_definition_pb as pb
from skerry._gen.skerry.v1.function_pb import Mount, Resources
from skerry._gen.skerry.v1.sandbox_pb import CreateSandboxRequest
from skerry._names import check_labels, check_name, check_variables, new_id
from skerry._objects.bucket import CloudBucketMount
from skerry._objects.image import Image
from skerry._objects.options import check_secrets, positive_option, request_and_limit
from skerry._objects.volumes import check_volumes, volume_messages
from skerry._run.policies import duration, placement_of
from skerry.config import config

from .egress import EgressSecret
from .execution import check_argv, check_workdir
from .network import network_policy, ports_of
from .probe import Probe
from .secrets import secret_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxInfo
    from skerry._objects.app import App

MAX_LIFETIME = 30 * 86400
_MOST_TAGS = 50
# What the reference has and Skerry has not, with the values that ask for nothing and what to do instead.
_LATER: dict[str, tuple[tuple[Any, ...], str]] = {
    "network_file_systems": ((None, {}), "network file systems are deprecated, and Skerry has none"),
    "gpu": ((None,), "GPUs come with a later version"),
    "proxy": ((None,), "static addresses come with a later version"),
    "include_oidc_identity_token": ((None, False), "Skerry issues no identity tokens"),
    "i6pn": ((None, False), "networks between sandboxes come with a later version; use tunnels"),
}


class Wanted:
    """A sandbox that was asked for, checked. Raises InvalidError, ValueError, UnimplementedError."""

    def __init__(self, args: tuple[str, ...], given: Mapping[str, Any]) -> None:
        self.given = _without_deprecated(given)
        _refuse_later(self.given)
        self.client: Client | None = self.given["client"]
        self.app_id = _app_id(self.given["app"])
        self.image = _image(self.given["image"])
        self.secrets = check_secrets(self.given["secrets"])
        self.volumes = check_volumes(self.given["volumes"])
        self.egress = _egress(self.given["egress_secrets"])
        self.definition = _definition(args, self.given)
        self.image_id = self.image._object_id or ""
        self.mounts: list[Mount] | None = None if self.image._mounts else []

    @property
    def is_loaded(self) -> bool:
        """Whether its image and its local files are on the server."""
        return bool(self.image_id) and self.mounts is not None

    def load(self) -> None:
        """Have the image built and local files sent; output is shown where it is enabled. Raises ImageBuildError."""
        client = self.client or shared_client()
        self.image_id, self.mounts = load_image(client, self.app_id, self.image)

    async def create(self) -> tuple[Client, SandboxInfo]:
        """Have the server make it."""
        client = self.client or shared_client()
        definition = self.definition
        definition.image_id = self.image_id
        definition.mounts = self.mounts or []
        if self.secrets:
            definition.secret_ids = await secret_ids(client, self.app_id, self.secrets)
        definition.egress_secrets = [
            pb.EgressSecret(
                secret_id=(await secret_ids(client, self.app_id, [each._secret]))[0],
                variable=each._variable,
                hosts=each._hosts,
                header=each._header or "",
                format=each._format or "",
            )
            for each in self.egress
        ]
        definition.volume_mounts = await volume_messages(self.volumes)
        definition.bucket_mounts = [
            mounted._message(
                path,
                "" if mounted.secret is None else (await secret_ids(client, self.app_id, [mounted.secret]))[0],
            )
            for path, mounted in self.volumes.items()
            if isinstance(mounted, CloudBucketMount)
        ]
        request = CreateSandboxRequest(sandbox_id=new_id("sb"), app_id=self.app_id, definition=definition)
        answer = await client.ask(lambda: client.aio.sandboxes.create_sandbox(request))
        assert answer.sandbox is not None  # noqa: S101 - the protocol says so
        return client, answer.sandbox

    def forget(self) -> None:
        """Have the image and the secrets asked for again: the server does not know them any more."""
        from .secrets import forget_secrets

        if self.image._base.kind != "existing" or self.image._steps:
            self.image_id, self.image._object_id = "", None
        forget_secrets(self.client or shared_client())


def load_image(client: Client, app_id: str, image: Any) -> tuple[str, list[Mount]]:
    """Return the id of an image, built if need be, and what is mounted over it. Output is shown where it is enabled."""
    from skerry._run.display import current_display
    from skerry._run.images import Images
    from skerry._run.mounts import Mounts
    from skerry._run.secrets import Secrets
    from skerry._run.source import alias_main

    if not isinstance(image, Image):
        raise exc.InvalidError(f"image must be a skerry.Image, got {type(image).__name__}")
    display = current_display()
    if is_local():
        alias_main()
    mounts = Mounts(client, display)
    images = Images(client, mounts, Secrets(client, app_id), display)
    image_id = image._object_id or images.load(image)
    return image_id, [
        Mount(remote_path=remote_path, tree_digest=digest)
        for files in image._mounts
        for remote_path, digest in mounts.load(files)
    ]


def _definition(args: tuple[str, ...], given: Mapping[str, Any]) -> pb.SandboxDefinition:
    check_argv(args, "Sandbox.create")
    if args and not args[0]:
        raise exc.InvalidError("Sandbox.create: the program's name is empty")
    block = bool(given["block_network"])
    probe: Any = given["readiness_probe"]
    if probe is not None and not isinstance(probe, Probe):
        raise exc.InvalidError(f"readiness_probe must be a skerry.Probe, got {type(probe).__name__}")
    if given["on_idle"] not in ("terminate", "pause"):
        raise exc.InvalidError(f"on_idle={given['on_idle']!r}: want 'terminate' or 'pause'")
    tags = check_labels("sandbox", given["tags"] or {})
    if len(tags) > _MOST_TAGS:
        raise exc.InvalidError(f"sandbox tags: there are {len(tags)}; the most is {_MOST_TAGS}")
    ports = {name: given[name] for name in ("encrypted_ports", "h2_ports", "unencrypted_ports")}
    definition = pb.SandboxDefinition(
        argv=list(args),
        name="" if given["name"] is None else check_name("sandbox", given["name"]),
        tags=tags,
        env=check_variables("Sandbox.create env", given["env"] or {}),
        timeout=duration(_lifetime("timeout", given["timeout"])),
        on_idle=pb.IdleAction.PAUSE if given["on_idle"] == "pause" else pb.IdleAction.UNSPECIFIED,
        workdir=check_workdir(given["workdir"]),
        resources=_resources(given),
        placement=placement_of(given["region"], given["cloud"] or str(config.get("default_cloud")) or None, False),
        ports=ports_of(ports, block=block),
        network=network_policy(
            block=block,
            outbound_cidrs=given["outbound_cidr_allowlist"],
            outbound_domains=given["outbound_domain_allowlist"],
            inbound_cidrs=given["inbound_cidr_allowlist"],
        ),
        pty=bool(given["pty"]),
        owner=_owner(given["owner"]),
        gateway_access=bool(given["gateway_access"]),
        verbose=bool(given["verbose"]),
        custom_domain=given["custom_domain"] or "",
    )
    if given["idle_timeout"] is not None:
        definition.idle_timeout = duration(_lifetime("idle_timeout", given["idle_timeout"]))
    if probe is not None:
        definition.probe = probe._message()
    if given["egress_secrets"] and block:
        raise exc.InvalidError("egress_secrets need a network, and block_network is set")
    return definition


def _without_deprecated(given: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(given)

    def warn(text: str) -> None:
        warnings.warn(text, exc.DeprecationError, stacklevel=5)

    if given.pop("environment_name", None) is not None:
        warn("Sandbox.create(environment_name=...) is deprecated: a sandbox is in the environment of its app")
    if given.pop("pty_info", None) is not None:
        warn("Sandbox.create(pty_info=...) is deprecated; use pty=True")
        given["pty"] = True
    if (cidrs := given.pop("cidr_allowlist", None)) is not None:
        warn("Sandbox.create(cidr_allowlist=...) is deprecated; use outbound_cidr_allowlist")
        if given["outbound_cidr_allowlist"] is not None:
            raise exc.InvalidError("cidr_allowlist and outbound_cidr_allowlist are the same; give one of them")
        given["outbound_cidr_allowlist"] = cidrs
    return given


def _refuse_later(given: Mapping[str, Any]) -> None:
    gpu: Any = given.get("gpu")
    if gpu is not None and not isinstance(gpu, str):
        raise exc.InvalidError(f"gpu must be a single str such as 'H100:2', got {type(gpu).__name__}")
    for key, (nothing, instead) in _LATER.items():
        if not any(given.get(key) is none or given.get(key) == none for none in nothing):
            raise exc.UnimplementedError(
                f"Sandbox.create({key}=...) is not available in this version of skerry: {instead}"
            )
    if given.get("experimental_options"):
        first = min(given["experimental_options"])
        raise exc.UnimplementedError(f"experimental option {first!r} of sandboxes is not available in skerry")


def _app_id(app: App | None) -> str:
    """Return the app that a sandbox is to belong to: in a container, by default the container's own."""
    if app is not None:
        app_id = getattr(app, "app_id", None)
        if not app_id:
            raise ValueError(
                "App has not been initialized: create sandboxes within `with app.run():`, "
                "or in an app of `App.lookup(name, create_if_missing=True)`"
            )
        return app_id
    if not is_local() and (app_id := started().get("app_id")):
        return app_id
    raise exc.InvalidError(
        "Sandboxes require an App: `app = skerry.App.lookup('my-app', create_if_missing=True)`, then `Sandbox.create(..., app=app)`"
    )


@functools.cache
def _default_image() -> Image:
    # One for all sandboxes, so that its id is asked for once.
    return Image.debian_slim()


def _image(image: Any) -> Image:
    if image is None:
        image = _default_image()
    if not isinstance(image, Image):
        raise exc.InvalidError(f"image must be a skerry.Image, got {type(image).__name__}")
    return image


def _egress(secrets: Any) -> list[EgressSecret]:
    if secrets is None:
        return []
    if not isinstance(secrets, (list, tuple)) or not all(isinstance(each, EgressSecret) for each in secrets):  # pyright: ignore[reportUnknownVariableType]
        raise exc.InvalidError("egress_secrets must be a list of skerry.EgressSecret")
    return list(secrets)  # pyright: ignore[reportUnknownArgumentType]


def _lifetime(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= MAX_LIFETIME:
        raise exc.InvalidError(f"{name} {value!r}: want seconds, from 1 to {MAX_LIFETIME:,} (30 days)")
    return value


def _owner(owner: Any) -> str:
    if owner is None:
        return ""
    if not isinstance(owner, str) or not 1 <= len(owner.encode()) <= 128:
        raise exc.InvalidError("owner must be a str of 1 to 128 bytes")
    return owner


def _resources(given: Mapping[str, Any]) -> Resources:
    cpu, cpu_limit = request_and_limit("cpu", given["cpu"], (int, float), "cores")
    memory, memory_limit = request_and_limit("memory", given["memory"], (int,), "MiB")
    return Resources(
        cpu_milli=round((cpu or 0) * 1000),
        cpu_limit_milli=round((cpu_limit or 0) * 1000),
        memory_mib=memory or 0,
        memory_limit_mib=memory_limit or 0,
        ephemeral_disk_mib=positive_option("ephemeral_disk", given["ephemeral_disk"], "MiB") or 0,
    )
