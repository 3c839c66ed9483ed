"""Run and deploy apps from programs."""

from __future__ import annotations

from skerry._run.deploy import DeployResult as DeployResult
from skerry._run.deploy import deploy_app as deploy_app

__all__ = ["DeployResult", "deploy_app"]
