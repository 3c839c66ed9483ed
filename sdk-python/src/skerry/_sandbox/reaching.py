"""How a sandbox's ports are reached, and what the sandbox may reach."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Literal

from skerry import exception as exc
from skerry._client.dual import dual
from skerry._gen.skerry.v1 import sandbox_pb, tunnel_pb
from skerry._gen.skerry.v1.sandbox_definition_pb import PortDefinition, PortKind
from skerry._run.policies import duration
from skerry.types import SandboxConnectCredentials

from .faults import timed_out
from .life import WAIT_SECONDS
from .network import network_policy
from .probe import check_port
from .tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from skerry._client.client import Client

    from .inside import Inside

_KINDS = {"encrypted": PortKind.ENCRYPTED, "h2": PortKind.H2, "unencrypted": PortKind.UNENCRYPTED}
_MOST_METADATA = 4096


class Reaching:
    """The part of a sandbox that concerns its network."""

    _client: Client
    _inside: Inside
    _sandbox_id: str
    _tunnels: dict[int, Tunnel] | None

    @dual
    async def tunnels(self, timeout: float = 50) -> dict[int, Tunnel]:
        """Return how the ports are reached that were named when the sandbox was created, by port. Waits until it runs.

        Args:
            timeout: most seconds to wait; SandboxTimeoutError if it takes longer.
        """
        self._inside.check()
        if self._tunnels is None:
            self._tunnels = {tunnel.port: Tunnel._of(tunnel) for tunnel in await self._list_tunnels(timeout)}
        return dict(self._tunnels)

    @dual
    async def tunnel(self, port: int, *, kind: Literal["encrypted", "h2", "unencrypted"] = "encrypted") -> Tunnel:
        """Return how a port is reached, whether it was named when the sandbox was created or not.

        Args:
            port: 1 to 65535.
            kind: of one that was not: "encrypted" for HTTP/1.1, "h2" for HTTP/2, both over TLS where the installation has a domain;
                "unencrypted" for TCP as it is.

        Raises ConflictError for a sandbox that has ended or has no network, ResourceExhaustedError for more than 64.
        """
        self._inside.check()
        if kind not in _KINDS:
            raise exc.InvalidError(f"kind={kind!r}: want 'encrypted', 'h2' or 'unencrypted'")
        definition = PortDefinition(port=check_port(port), kind=_KINDS[kind])
        request = tunnel_pb.OpenTunnelRequest(sandbox_id=self._sandbox_id, port=definition)
        answer = await self._client.ask(lambda: self._client.aio.tunnels.open_tunnel(request))
        return Tunnel._of(answer.tunnel or tunnel_pb.Tunnel())

    @dual
    async def close_tunnel(self, port: int) -> None:
        """Have a port be reached no more, and cut the connections to it. One that was not open is no error."""
        self._inside.check()
        request = tunnel_pb.CloseTunnelRequest(sandbox_id=self._sandbox_id, port=check_port(port))
        await self._client.ask(lambda: self._client.aio.tunnels.close_tunnel(request))
        self._tunnels = None

    @dual
    async def create_connect_token(
        self, user_metadata: str | dict[str, Any] | None = None, port: int = 8080
    ) -> SandboxConnectCredentials:
        """Return a URL and a token that let HTTP and WebSocket requests through to one port.

        Args:
            user_metadata: what the server in the sandbox gets to know about its user, in the header X-Skerry-User-Metadata; a dict is
                sent as JSON. At most 4 KiB.
            port: where that server listens.
        """
        self._inside.check()
        request = tunnel_pb.CreateConnectTokenRequest(
            sandbox_id=self._sandbox_id, port=check_port(port), user_metadata=_metadata(user_metadata)
        )
        answer = await self._client.ask(lambda: self._client.aio.tunnels.create_connect_token(request))
        return SandboxConnectCredentials(url=answer.url, token=answer.token)

    @dual
    async def signed_url(
        self, port: int, ttl: float = 3600, *, user_metadata: str | dict[str, Any] | None = None
    ) -> str:
        """Return a URL that opens one port to whoever has it, for a time.

        Args:
            port: 1 to 65535.
            ttl: seconds that it works, 1 s to 7 days.
            user_metadata: as in :meth:`create_connect_token`.
        """
        self._inside.check()
        if isinstance(ttl, bool) or not 1 <= ttl <= 7 * 86400:
            raise exc.InvalidError(f"ttl {ttl!r}: want seconds, from 1 to {7 * 86400:,} (7 days)")
        request = tunnel_pb.SignURLRequest(
            sandbox_id=self._sandbox_id,
            port=check_port(port),
            ttl=duration(ttl),
            user_metadata=_metadata(user_metadata),
        )
        return (await self._client.ask(lambda: self._client.aio.tunnels.sign_url(request))).url

    @dual
    async def revoke_urls(self, port: int | None = None) -> None:
        """Make all tokens and signed URLs of a port invalid; of all ports where none is given."""
        self._inside.check()
        request = tunnel_pb.RevokeURLsRequest(sandbox_id=self._sandbox_id, port=0 if port is None else check_port(port))
        await self._client.ask(lambda: self._client.aio.tunnels.revoke_urls(request))

    @dual
    async def set_network_policy(
        self,
        *,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        inbound_cidr_allowlist: Sequence[str] | None = None,
    ) -> None:
        """Replace what the sandbox may reach, and who may reach it, while it runs. Connections that are no longer allowed are cut.

        Arguments are as in ``Sandbox.create``; without ``inbound_cidr_allowlist`` that list stays as it is.

        Raises ConflictError for a sandbox that has ended or was created without a network.
        """
        self._inside.check()
        policy = network_policy(
            block=block_network,
            outbound_cidrs=outbound_cidr_allowlist,
            outbound_domains=outbound_domain_allowlist,
            inbound_cidrs=inbound_cidr_allowlist,
        )
        request = sandbox_pb.SetSandboxNetworkRequest(sandbox_id=self._sandbox_id, network=policy)
        await self._client.ask(lambda: self._client.aio.sandboxes.set_sandbox_network(request))

    @dual
    async def _experimental_set_outbound_network_policy(
        self,
        *,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
    ) -> None:
        """Replace what the sandbox may reach while it runs; without either list that is everything."""
        self._inside.check()
        policy = network_policy(
            block=False, outbound_cidrs=outbound_cidr_allowlist, outbound_domains=outbound_domain_allowlist
        )
        request = sandbox_pb.SetSandboxNetworkRequest(sandbox_id=self._sandbox_id, network=policy)
        await self._client.ask(lambda: self._client.aio.sandboxes.set_sandbox_network(request))

    async def _list_tunnels(self, timeout: float) -> Sequence[tunnel_pb.Tunnel]:
        end = time.monotonic() + timeout
        fault = timed_out("tunnels", exc.SandboxTimeoutError)
        while True:
            left = max(end - time.monotonic(), 0)
            request = tunnel_pb.ListTunnelsRequest(sandbox_id=self._sandbox_id, limit=duration(min(left, WAIT_SECONDS)))
            try:
                answer = await self._client.ask(
                    lambda request=request: self._client.aio.tunnels.list_tunnels(request), fault=fault
                )
            except exc.SandboxTimeoutError:
                if left <= WAIT_SECONDS:
                    raise
            else:
                return answer.tunnels


def _metadata(given: str | dict[str, Any] | None) -> str:
    if given is None:
        return ""
    if not isinstance(given, str):
        try:
            given = json.dumps(given)
        except (TypeError, ValueError) as err:
            raise exc.InvalidError(f"user_metadata can't be sent as JSON: {err}") from err
    if len(given.encode()) > _MOST_METADATA:
        raise exc.InvalidError(f"user_metadata takes more than {_MOST_METADATA:,} bytes")
    return given
