"""States of sandboxes with their memory."""

from ._sandbox.snapshot import SandboxSnapshot

__all__ = ["SandboxSnapshot"]
