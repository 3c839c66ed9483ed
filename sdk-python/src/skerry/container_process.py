"""Processes in sandboxes."""

from ._sandbox.process import ContainerProcess

__all__ = ["ContainerProcess"]
