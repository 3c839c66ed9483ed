"""Sandboxes and what they have."""

from ._sandbox.code import CodeError, CodeEvent, CodeExecution, CodeResult, CodeTable
from ._sandbox.egress import EgressSecret
from ._sandbox.git import GitBranch, GitFile, GitStatus, SandboxGit
from ._sandbox.interpreting import CodeContext, RunCode
from ._sandbox.main_output import SandboxLogsManager
from ._sandbox.probe import Probe
from ._sandbox.sandbox import Sandbox
from ._sandbox.sidecars import SidecarContainer, SidecarManager
from ._sandbox.snapshot import SandboxSnapshot
from ._sandbox.tunnel import Tunnel
from .types import SandboxConnectCredentials

__all__ = [
    "CodeContext",
    "CodeError",
    "CodeEvent",
    "CodeExecution",
    "CodeResult",
    "CodeTable",
    "EgressSecret",
    "GitBranch",
    "GitFile",
    "GitStatus",
    "Probe",
    "RunCode",
    "Sandbox",
    "SandboxConnectCredentials",
    "SandboxGit",
    "SandboxLogsManager",
    "SandboxSnapshot",
    "SidecarContainer",
    "SidecarManager",
    "Tunnel",
]
