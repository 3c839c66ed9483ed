"""Run and deploy apps from programs."""

from __future__ import annotations

from skerry._run.deploy import DeployResult, deploy_app

__all__ = ["DeployResult", "deploy_app"]
