"""Readiness probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf import Oneof

from skerry._gen.skerry.v1 import sandbox_definition_pb as pb
from skerry._run.policies import duration
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from typing import Any


class Probe:
    """Tells when a sandbox is ready: make one with :meth:`with_tcp` or :meth:`with_exec`, and wait with ``Sandbox.wait_until_ready``.

    ::

        sandbox = skerry.Sandbox.create(
            "python", "-m", "http.server", "8000", app=app, readiness_probe=skerry.Probe.with_tcp(8000)
        )
        sandbox.wait_until_ready()
    """

    __slots__ = ("_argv", "_interval_ms", "_port")

    def __init__(self) -> None:
        raise TypeError("make a probe with skerry.Probe.with_tcp(port) or skerry.Probe.with_exec(*argv)")

    @classmethod
    def _make(cls, port: int, argv: tuple[str, ...], interval_ms: int) -> Probe:
        if isinstance(interval_ms, bool) or not isinstance(interval_ms, int) or interval_ms <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"interval_ms {interval_ms!r}: want a whole number of milliseconds, more than 0")
        probe: Probe = object.__new__(cls)
        probe._port, probe._argv, probe._interval_ms = port, argv, interval_ms
        return probe

    @staticmethod
    def with_tcp(port: int, *, interval_ms: int = 100) -> Probe:
        """Return a probe that succeeds once something listens at a port.

        Args:
            port: 1 to 65535.
            interval_ms: milliseconds between attempts.
        """
        return Probe._make(check_port(port), (), interval_ms)

    @staticmethod
    def with_exec(*argv: str, interval_ms: int = 100) -> Probe:
        """Return a probe that succeeds once a command exits with 0.

        Args:
            argv: program and arguments.
            interval_ms: milliseconds between attempts.
        """
        from .execution import check_argv

        if not argv:
            raise InvalidError("Probe.with_exec needs a command")
        check_argv(argv, "Probe.with_exec")
        return Probe._make(0, argv, interval_ms)

    def __repr__(self) -> str:
        if self._argv:
            return f"skerry.Probe.with_exec{self._argv!r}"
        return f"skerry.Probe.with_tcp({self._port})"

    def _message(self) -> pb.Probe:
        kind: Any = (
            Oneof("exec", pb.ProbeCommand(argv=list(self._argv))) if self._argv else Oneof("tcp_port", self._port)
        )
        return pb.Probe(kind=kind, interval=duration(self._interval_ms / 1000))


def check_port(port: object) -> int:
    """Return a port. Raises InvalidError for what is none."""
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise InvalidError(f"port {port!r}: want a number from 1 to 65535")
    return port
