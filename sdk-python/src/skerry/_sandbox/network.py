"""What a sandbox may reach and who may reach it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1 import sandbox_definition_pb as pb
from skerry.exception import InvalidError

from .probe import check_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_ENTRIES = 1000
_LABEL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_KINDS = {
    "encrypted_ports": pb.PortKind.ENCRYPTED,
    "h2_ports": pb.PortKind.H2,
    "unencrypted_ports": pb.PortKind.UNENCRYPTED,
}


def network_policy(
    *,
    block: bool,
    outbound_cidrs: Sequence[str] | None,
    outbound_domains: Sequence[str] | None,
    inbound_cidrs: Sequence[str] | None = None,
) -> pb.NetworkPolicy:
    """Return a policy. Raises InvalidError for lists that make no sense, or that contradict one another."""
    lists = {
        "outbound_cidr_allowlist": outbound_cidrs,
        "outbound_domain_allowlist": outbound_domains,
        "inbound_cidr_allowlist": inbound_cidrs,
    }
    if block:
        for name, entries in lists.items():
            if entries is not None:
                raise InvalidError(f"`{name}` cannot be used when `block_network` is enabled")
        return pb.NetworkPolicy(block=True)
    return pb.NetworkPolicy(
        outbound_cidrs=_allowlist("outbound_cidr_allowlist", outbound_cidrs, check_cidr),
        outbound_domains=_allowlist("outbound_domain_allowlist", outbound_domains, check_domain),
        inbound_cidrs=_allowlist("inbound_cidr_allowlist", inbound_cidrs, check_cidr),
    )


def ports_of(given: dict[str, Sequence[int]], *, block: bool) -> list[pb.PortDefinition]:
    """Return the ports of the three lists. Raises InvalidError for what is no port, one twice, or any without a network."""
    ports: list[pb.PortDefinition] = []
    seen: set[int] = set()
    for name, kind in _KINDS.items():
        for port in given[name] or ():
            if block:
                raise InvalidError("Cannot specify open ports when `block_network` is enabled")
            if check_port(port) in seen:
                raise InvalidError(f"{name}: port {port} is there twice")
            seen.add(port)
            ports.append(pb.PortDefinition(port=port, kind=kind))
    return ports


def check_cidr(name: str, entry: str) -> str:
    """Return a range of addresses. Raises InvalidError."""
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError as err:
        raise InvalidError(f"{name}: {entry!r} is no range of addresses such as '10.1.0.0/16': {err}") from None
    return entry


def check_domain(name: str, entry: str) -> str:
    """Return a name of hosts: "example.com", "*.example.com" or "*". Raises InvalidError."""
    plain = entry.removeprefix("*.").rstrip(".")
    labels = plain.split(".")
    if entry != "*" and not (
        len(plain) <= 253 and all(1 <= len(label) <= 63 and _LABEL.issuperset(label) for label in labels)
    ):
        raise InvalidError(f"{name}: {entry!r} is no domain; want one such as 'example.com', '*.example.com' or '*'")
    return entry


def _allowlist(name: str, entries: Any, check: Any) -> pb.Allowlist | None:
    if entries is None:
        return None
    if isinstance(entries, str) or not all(isinstance(entry, str) for entry in entries):
        raise InvalidError(f"{name} must be a list of str")
    if len(entries) > _MOST_ENTRIES:
        raise InvalidError(f"{name}: has {len(entries):,} entries; the most is {_MOST_ENTRIES:,}")
    return pb.Allowlist(entries=[check(name, entry) for entry in entries])
