"""The SDK of this process uses the daemon of the tests."""

from e2e.conformance.conftest import connected, profile, reachable

__all__ = ["connected", "profile", "reachable"]
