"""Entry of the runner: ``python3 /__skerry/py/skerry/_runner/__main__.py``."""

from __future__ import annotations

import os
import sys

SOCKET = os.environ.pop("SKERRY_RUNNER_SOCKET", "/__skerry/run/runner.sock")
CODE = os.environ.pop("SKERRY_CODE_DIR", "/root")


def _set_path() -> None:
    """Order sys.path: the user's code as a script would have it, what the image has, and last what Skerry brings."""
    here = os.path.dirname(os.path.abspath(__file__))
    bundle = os.path.dirname(os.path.dirname(here))
    rest = [p for p in sys.path if p and os.path.abspath(p) not in (here, CODE, bundle)]
    sys.path[:] = [CODE, *rest, bundle]


def main() -> None:
    """Connect to the worker and serve it until it goes."""
    _set_path()
    from _socket import socket  # the socket module proper imports selectors and enum, for nothing that is needed here

    from skerry._runner.frames import Connection
    from skerry._runner.loop import Runner

    sock = socket(1, 1)  # AF_UNIX, SOCK_STREAM
    sock.connect(SOCKET)
    # User code that looks at __main__ (pickle, multiprocessing) must not find the runner there.
    sys.modules["__main__"] = type(sys)("__main__")
    sys.argv = [""]
    Runner(Connection(sock)).serve()


if __name__ == "__main__":
    main()
