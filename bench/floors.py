"""What the machine and plain gVisor cost: nothing of ours can be faster by much."""

import pickle
import socket
import subprocess
import sys

from bench.sandbox import Sandbox, sandbox
from bench.timing import Spread, repeat

# Runs inside the sandbox: echo frames of a 4-byte length and a pickle, as a no-op function would.
ECHO = """
import pickle, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
kept = bytearray(1 << 16)
while True:
    n = s.recv_into(kept)
    if not n:
        break
    args, kwargs = pickle.loads(memoryview(kept)[4:n])
    answer = pickle.dumps(None, 4)
    s.sendall(len(answer).to_bytes(4, "little") + answer)
"""


def echo() -> dict[str, Spread]:
    """A pickled no-op over a unix socket, its Python out of gVisor and native."""
    with sandbox() as box:
        path = box.shared / "echo.sock"
        script = box.shared / "echo.py"
        script.write_text(ECHO)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        with listener, box.start("python3", "/bench/echo.py", "/bench/echo.sock"):
            isolated = _round_trips(listener)
        listener = socket.socket(socket.AF_UNIX)
        path.unlink()
        listener.bind(str(path))
        listener.listen()
        with listener, subprocess.Popen([sys.executable, str(script), str(path)]):
            native = _round_trips(listener)
    return {"gvisor": isolated, "native": native}


def _round_trips(listener: socket.socket) -> Spread:
    peer, _ = listener.accept()
    kept = bytearray(1 << 16)

    def call() -> None:
        body = pickle.dumps(((), {}), 4)
        peer.sendall(len(body).to_bytes(4, "little") + body)
        peer.recv_into(kept)

    with peer:
        return repeat(call, times=3000, warmup=300)


def runsc_run() -> Spread:
    """A whole new sandbox that starts Python, imports two modules and ends: `runsc run` and nothing else."""

    def one(box: Sandbox) -> None:
        box.run("python3", "-c", "import json, asyncio")

    with sandbox() as box:
        return repeat(lambda: one(box), times=15, warmup=2)
