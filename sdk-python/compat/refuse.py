"""Refuses to build the package where Modal's own is installed: each would overwrite the other's files."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RefuseHook(BuildHookInterface[Any]):
    """Looks before a build."""

    PLUGIN_NAME = "custom"

    def initialize(self, version_name: str, build_data: dict[str, Any]) -> None:
        """Raise if Modal's package is here. Not seen where the build is isolated: then `import modal` tells."""
        del version_name, build_data
        try:
            found = version("modal")
        except PackageNotFoundError:
            return
        raise RuntimeError(
            f"modal {found} is installed here, and skerry-modal has a package of the same name: pip uninstall modal first"
        )
