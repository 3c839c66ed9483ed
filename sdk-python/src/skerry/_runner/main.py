"""The runner from its start to its end."""

from __future__ import annotations

import os
import sys
from _signal import SIG_IGN, SIGINT, SIGUSR1, signal  # pyright: ignore - the C module, without enum around it
from _socket import AF_UNIX, SOCK_STREAM, socket
from time import monotonic

from . import context, streams, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .target import Target

SOCKET = "/__skerry/run/runner.sock"
CODE = "/root"

# How long threads may take to end that have been told so, such as those of the event loop's executor, in seconds.
_ENDING = 0.5


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
    streams.install(start.get("max_inputs", 1) > 1)
    target = _load(channel, start, serialized)
    inputs: Any
    if start.get("max_inputs", 1) > 1:
        from .wide import Inputs as Wide

        inputs = Wide(channel, target, start)
    else:
        from .inputs import Inputs

        inputs = Inputs(channel, target, start["container_id"])
        signal(SIGUSR1, inputs.on_signal)
    context.inputs = inputs
    channel.send(wire.READY, "{}")
    if context.slots is not None:  # what hooks asked for
        inputs.tell_slots(context.slots)
    interrupted = _serve(inputs)
    signal(SIGUSR1, SIG_IGN)
    signal(SIGINT, SIG_IGN)  # hooks run to their end
    if interrupted:
        channel.send(wire.LEAVING, "{}")
    target.leave()
    streams.flush()
    channel.close()
    _name_threads()


def _serve(inputs: Any) -> bool:
    """Run inputs. Return whether that was interrupted, and inputs may be left without an output."""
    try:
        return inputs.serve()
    except KeyboardInterrupt:
        return True


def _load(channel: wire.Channel, start: dict[str, Any], serialized: bytes | bytearray) -> Target:
    from .loader import load

    try:
        if start.get("modal_names"):
            from skerry._modal import install

            install()
        target = load(start, serialized)
        if start.get("interactive"):
            _hook_breakpoints()
        target.enter()
    except BaseException as err:
        from .failure import Failure
        from .values import PICKLE

        failure = Failure(err, start["container_id"])
        if not isinstance(err, KeyboardInterrupt):  # with which the host stops what has not begun
            streams.carefully("stderr", "write", failure.text)
        streams.flush()
        data = failure.data(PICKLE)
        members = f'"format":{PICKLE},' if data else ""
        channel.send(wire.START_FAILED, f'{{{members}"error":{failure.error}}}', data)
        channel.close()
        sys.exit(1)
    return target


def _hook_breakpoints() -> None:
    from .interaction import breakpoint_hook

    sys.breakpointhook = breakpoint_hook


def _name_threads() -> None:
    """Say which threads keep the process alive: Python waits for them, the host for half a minute."""
    threading = sys.modules.get("threading")
    if threading is None:
        return
    others = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    end = monotonic() + _ENDING
    for thread in others:
        thread.join(max(0.0, end - monotonic()))
    names = [thread.name for thread in others if thread.is_alive()]
    if names:
        sys.stderr.write(
            f"the container waits for threads that have not ended: {', '.join(names)}; it is killed after 30 s\n"
        )
        sys.stderr.flush()
