"""The runner from its start to its end."""

from __future__ import annotations

import os
import sys
from _signal import SIG_IGN, SIGUSR1, signal  # pyright: ignore - the C module, without enum around it
from _socket import AF_UNIX, SOCK_STREAM, socket

from . import context, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = "/__skerry/run/runner.sock"
CODE = "/root"


def main(runtime: str) -> None:
    """Run inputs until the host has no more. Ends the process with code 1 where the function can't be loaded."""
    signal(SIGUSR1, SIG_IGN)  # until there are inputs; the default would end the process
    # Where a script has its folder is the user's code, not the runtime, which goes last: users' packages come first.
    sys.path[0] = os.environ.pop("SKERRY_CODE_DIR", CODE)
    sys.path.append(runtime)
    # User code that looks at __main__ (pickle, multiprocessing) must not find the runner there.
    sys.modules["__main__"] = type(sys)("__main__")
    sys.argv = [""]
    sock = socket(AF_UNIX, SOCK_STREAM)
    sock.connect(os.environ.pop("SKERRY_RUNNER_SOCKET", SOCKET))
    channel = wire.Channel(sock)
    try:
        serve(channel)
    except OSError:
        sys.exit(0)  # the host is gone, and with it whoever wanted the result


def serve(channel: wire.Channel) -> None:
    """Speak the protocol on a channel."""
    frame = channel.read()
    if frame is None:
        return
    kind, start, serialized = frame
    if kind != wire.START:
        raise wire.ProtocolError(f"a frame of kind {kind} where the start belongs")
    context.started.update(start)
    _buffer_lines()
    function = _load(channel, start, serialized)
    from .inputs import Inputs

    inputs = Inputs(channel, function, start["container_id"])
    signal(SIGUSR1, inputs.on_signal)
    channel.send(wire.READY, "{}")
    inputs.serve()


def _load(channel: wire.Channel, start: dict[str, Any], serialized: bytes | bytearray) -> Callable[..., Any]:
    from .loader import load

    try:
        return load(start, serialized)
    except BaseException as err:
        from .failure import Failure

        failure = Failure(err, start["container_id"])
        sys.stderr.write(failure.text)
        sys.stderr.flush()
        sys.stdout.flush()
        members = '"format":1,' if failure.data else ""
        channel.send(wire.START_FAILED, f'{{{members}"error":{failure.error}}}', failure.data)
        channel.close()
        sys.exit(1)


def _buffer_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
