"""How a program makes a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from skerry import exception as exc
from skerry._client import background
from skerry._twin import static_twin

from .creation import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxInfo
    from skerry._objects.app import App
    from skerry._objects.bucket import CloudBucketMount
    from skerry._objects.image import Image
    from skerry._objects.secret import Secret
    from skerry._volume.volume import Volume

    from .egress import EgressSecret
    from .probe import Probe
    from .sandbox import Sandbox


class Making:
    """The part of :class:`Sandbox` that makes one."""

    @static_twin
    @staticmethod
    def create(
        *args: str,
        app: App | None = None,
        name: str | None = None,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        network_file_systems: dict[str, Any] | None = None,
        timeout: float = 300,
        idle_timeout: float | None = None,
        workdir: str | None = None,
        gpu: str | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        inbound_cidr_allowlist: Sequence[str] | None = None,
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        pty: bool = False,
        encrypted_ports: Sequence[int] = (),
        h2_ports: Sequence[int] = (),
        unencrypted_ports: Sequence[int] = (),
        custom_domain: str | None = None,
        proxy: Any = None,
        include_oidc_identity_token: bool = False,
        readiness_probe: Probe | None = None,
        verbose: bool = False,
        experimental_options: dict[str, Any] | None = None,
        _experimental_enable_snapshot: bool = False,
        client: Client | None = None,
        environment_name: str | None = None,
        pty_info: Any = None,
        cidr_allowlist: Sequence[str] | None = None,
        on_idle: Literal["terminate", "pause"] = "terminate",
        owner: str | None = None,
        egress_secrets: Sequence[EgressSecret] | None = None,
        ephemeral_disk: int | None = None,
        gateway_access: bool = False,
    ) -> Sandbox:
        """Make a sandbox. It returns once a worker has taken it; the sandbox starts on, and what is done with it waits for that.

        Args:
            args: its command, at most 65,536 bytes in all. Default: the image's, and where that has none it waits until it is ended.
            app: whose it is: one that runs, or of ``App.lookup(name, create_if_missing=True)``. In a container, by default the container's.
            name: unique among the running sandboxes of the app.
            tags: free labels, for ``Sandbox.list``.
            image: default: ``Image.debian_slim()``. It is built first if need be; ``skerry.enable_output()`` shows that.
            env: environment variables; those that are None are left out.
            secrets: secrets that become environment variables; later ones win.
            network_file_systems: not available.
            timeout: seconds that it lives at most, 1 s to 30 days.
            idle_timeout: seconds that it lives unused: without a process of ``exec``, an open stream, or a connection to a port.
            workdir: absolute; default: the image's.
            gpu: not available yet.
            cloud: run on workers with this label "cloud" only.
            region: run on workers with one of these labels "region" only.
            cpu: cores wanted, or (wanted, most).
            memory: MiB wanted, or (wanted, most).
            block_network: give it no network; not together with ports or allowlists.
            outbound_cidr_allowlist: the only addresses that it may connect to, as ranges; [] is none at all.
            outbound_domain_allowlist: the only names that it may connect to, such as "example.com", "*.example.com" or "*".
            inbound_cidr_allowlist: who may connect to its ports.
            volumes: what is mounted, by absolute path: :class:`skerry.Volume` or :class:`skerry.CloudBucketMount`.
            pty: give its command a terminal.
            encrypted_ports: ports that are reached over TLS.
            h2_ports: ports that are reached over TLS and HTTP/2.
            unencrypted_ports: ports that are reached over TCP as it is.
            custom_domain: the parent domain of its URLs, instead of the installation's.
            proxy: not available yet.
            include_oidc_identity_token: not available.
            readiness_probe: tells when it is ready, for ``wait_until_ready``.
            verbose: log more about it.
            experimental_options: none are known.
            _experimental_enable_snapshot: every sandbox can be kept with its memory; this changes nothing.
            client: default: the process's own.
            environment_name: deprecated: a sandbox is in the environment of its app.
            pty_info: deprecated; use ``pty``.
            cidr_allowlist: deprecated; use ``outbound_cidr_allowlist``.
            on_idle: what happens when ``idle_timeout`` has passed: "terminate", or "pause": it is kept on the disk, and whoever uses it
                next has it run on.
            owner: who it belongs to, such as a program's run, for ``Sandbox.prune``; at most 128 bytes.
            egress_secrets: values that never enter it; see :class:`skerry.EgressSecret`.
            ephemeral_disk: size of its writable layer in MiB.
            gateway_access: let its code call Skerry with the rights of the app.

        Raises InvalidError for what makes no sense, or without an app; ValueError for an app that does not run; AlreadyExistsError where a
        running sandbox has the name; ResourceExhaustedError where no worker has room; ImageBuildError.
        """
        given = dict(locals())
        return _create(given.pop("args"), given)

    @create.native
    @staticmethod
    async def _create_aio(*args: str, **given: Any) -> Sandbox:
        return await _create_aio(args, _with_defaults(given))

    @static_twin
    @staticmethod
    def _experimental_create(*args: str, i6pn: bool = False, **given: Any) -> Sandbox:
        """Do what :meth:`create` does: there is one kind of sandbox. ``i6pn`` is not available yet."""
        return _create(args, {**_with_defaults(given), "i6pn": i6pn})

    @_experimental_create.native
    @staticmethod
    async def _experimental_create_aio(*args: str, i6pn: bool = False, **given: Any) -> Sandbox:
        return await _create_aio(args, {**_with_defaults(given), "i6pn": i6pn})


def _create(args: tuple[str, ...], given: dict[str, Any]) -> Sandbox:
    wanted = Wanted(args, given)
    if not wanted.is_loaded:
        wanted.load()
    try:
        return _made(*background.run(wanted.create()))
    except exc.NotFoundError:
        # What was known of an earlier sandbox, an image or a secret, may be gone.
        wanted.forget()
    if not wanted.is_loaded:
        wanted.load()
    return _made(*background.run(wanted.create()))


async def _create_aio(args: tuple[str, ...], given: dict[str, Any]) -> Sandbox:
    import asyncio

    wanted = Wanted(args, given)
    if not wanted.is_loaded:
        await asyncio.to_thread(wanted.load)
    try:
        return _made(*await background.run_aio(wanted.create()))
    except exc.NotFoundError:
        wanted.forget()
    if not wanted.is_loaded:
        await asyncio.to_thread(wanted.load)
    return _made(*await background.run_aio(wanted.create()))


def _made(client: Client, info: SandboxInfo) -> Sandbox:
    from .sandbox import Sandbox

    return Sandbox._made(client, info)


def _with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    import inspect

    parameters: Any = inspect.signature(Making.create.__wrapped__).parameters
    unknown = given.keys() - parameters.keys()
    if unknown:
        raise TypeError(f"Sandbox.create() got an unexpected keyword argument {min(unknown)!r}")
    defaults = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    return {**defaults, **given}
