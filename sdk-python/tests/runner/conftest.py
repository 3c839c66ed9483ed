"""A host for a real runner process, in Python."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
# The interpreter of the runner, where it is not to be that of the tests: containers bring their own.
PYTHON = os.environ.get("SKERRY_TEST_RUNNER_PYTHON", sys.executable)
START, INPUT, INPUT_DATA, CANCEL, STOP, WITHDRAW, BATCH = 1, 2, 3, 4, 5, 6, 7
READY, START_FAILED, OUTPUT, OUTPUT_DATA, WITHDRAWN, ITEM, SLOTS, LEAVING = 16, 17, 18, 19, 20, 21, 22, 23
HEAD = struct.Struct("<IBI")
CONTAINER = "ta-0123456789abcdefghijkl"


class Host:
    """Speaks the protocol with one runner, one frame at a time."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.code = folder / "code"
        self.code.mkdir()
        self.streams = [(folder / name).open("w+b") for name in ("out", "err")]
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "runner.sock"))
        self.listener.listen()
        self.env = {
            "PATH": os.environ["PATH"],
            "SKERRY_RUNNER_SOCKET": str(folder / "runner.sock"),
            "SKERRY_CODE_DIR": str(self.code),
            "SKERRY_IS_REMOTE": "1",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if "site-packages" in p),
            **(env or {}),
        }

    def start(
        self, source: str = "", qualname: str = "f", serialized: object = None, **meta: Any
    ) -> tuple[int, Any, bytes]:
        """Write the user's module, start a runner for it and return its answer."""
        self.launch(source)
        start = {
            "module": "user",
            "qualname": qualname,
            "app_id": "ap-1",
            "app_name": "app",
            "function_id": "fu-1",
            "function_name": qualname,
            "function_ids": {},
            "environment": "main",
            "container_id": CONTAINER,
            "has_serialized": serialized is not None,
            "class": None,
            "generator": False,
            "max_inputs": 1,
            "batched": False,
            "modal_names": False,
            "interactive": False,
            **meta,
        }
        data = b"" if serialized is None else cloudpickle.dumps(serialized, 4)
        self.send_large(START, start, data) if len(data) > 512 << 10 else self.send(START, start, data)
        return self.receive()

    def launch(self, source: str = "") -> None:
        """Write the user's module and start a runner, which waits for what it is to start."""
        (self.code / "user.py").write_text(textwrap.dedent(source))
        self.process = subprocess.Popen(
            [PYTHON, str(SRC / "skerry/_runner/__main__.py")],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.streams[0],
            stderr=self.streams[1],
        )
        self.listener.settimeout(30)
        self.conn, _ = self.listener.accept()
        self.conn.settimeout(30)

    def ready(self, source: str = "", **options: Any) -> Host:
        kind, meta, _ = self.start(source, **options)
        assert kind == READY, meta
        return self

    def send(self, kind: int, meta: dict[str, Any] | None = None, data: bytes = b"") -> None:
        encoded = b"" if meta is None else json.dumps(meta).encode()
        self.conn.sendall(HEAD.pack(5 + len(encoded) + len(data), kind, len(encoded)) + encoded + data)

    def send_large(self, kind: int, meta: dict[str, Any], data: bytes) -> None:
        self.send(kind, {**meta, "blob_size": len(data)})
        for at in range(0, len(data), 1 << 20):
            self.send(INPUT_DATA, None, data[at : at + (1 << 20)])

    def exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            part = self.conn.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self) -> tuple[int, Any, bytes]:
        length, kind, meta = HEAD.unpack(self.exactly(HEAD.size))
        assert length <= 5 + (2 << 20)
        encoded = self.exactly(meta)
        data = self.exactly(length - 5 - meta)
        return kind, json.loads(encoded) if encoded else {}, data

    def give(self, *args: Any, index: int = 0, **kwargs: Any) -> None:
        self.send(INPUT, {"call": "fc-abc", "index": index, "format": 1}, cloudpickle.dumps((args, kwargs), 4))

    def give_ahead(self, *args: Any) -> None:
        """Give inputs 0, 1, ... with one argument each, all at once."""
        frames: list[bytes] = []
        for index, arg in enumerate(args):
            meta = json.dumps({"call": "fc-abc", "index": index, "format": 1}).encode()
            data = cloudpickle.dumps(((arg,), {}), 4)
            frames.append(HEAD.pack(5 + len(meta) + len(data), INPUT, len(meta)) + meta + data)
        self.conn.sendall(b"".join(frames))

    def output(self) -> tuple[Any, Any]:
        kind, meta, data = self.receive()
        assert kind == OUTPUT
        if size := meta.get("blob_size"):
            assert not data
            while len(data) < size:
                kind, _, part = self.receive()
                assert kind == OUTPUT_DATA
                assert 0 < len(part) <= 1 << 20
                data += part
        return meta, cloudpickle.loads(data) if data else None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        self.give(*args, **kwargs)
        meta, value = self.output()
        assert meta["status"] == 1, meta
        return value

    def fail(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        self.give(*args, **kwargs)
        meta, value = self.output()
        assert meta["status"] == 2, meta
        return meta["error"], value

    def signal(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def cancel(self, index: int = 0) -> None:
        self.send(CANCEL, {"call": "fc-abc", "index": index})
        self.signal()

    def withdraw(self) -> list[int]:
        """Ask for what has not begun; return its indexes, which come after the outputs of what has ended."""
        self.send(WITHDRAW, {})
        self.signal()
        kind, meta, _ = self.receive()
        assert kind == WITHDRAWN, meta
        return [one["index"] for one in meta["inputs"]]

    def stop(self) -> tuple[int, str, str]:
        """Stop the runner and return its exit code and what it wrote."""
        self.send(STOP, {})
        return self.process.wait(30), *self.written()

    def written(self) -> list[str]:
        """Return what the runner has written to its standard output and error, without marks."""
        return [re.sub("\x1b\\]7770;[^\a]*\a", "", text) for text in self.marked()]

    def marked(self) -> list[str]:
        """Return the same with the marks that say which input wrote."""
        return [Path(stream.name).read_text() for stream in self.streams]

    def close(self) -> None:
        for resource in (self.listener, *self.streams):
            resource.close()
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        if hasattr(self, "conn"):
            self.conn.close()


@pytest.fixture
def host(tmp_path: Path):
    one = Host(tmp_path)
    yield one
    one.close()
