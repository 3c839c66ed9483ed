"""Skerry under the name of Modal: importing this package leaves the package ``skerry`` in its place."""

import sys
from importlib.metadata import PackageNotFoundError, version


def _refuse_beside_modal() -> None:
    try:
        found = version("modal")
    except PackageNotFoundError:
        return
    raise ImportError(
        f"modal {found} and skerry-modal are both installed, and share the name modal: "
        "pip uninstall modal skerry-modal, and install the one you want again"
    )


_refuse_beside_modal()

from skerry._modal import install  # noqa: E402 - only where the name is ours

install()
# What is imported is what stands here at the end: the package that the finder gives, whose submodules are Skerry's.
sys.modules.pop(__name__, None)
import modal  # noqa: E402, F401 - it is Skerry now
