"""A gateway for tests: real protocol, real HTTP/2, answers as a test orders."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import skerry
from skerry._client.client import Client
from skerry._gen.skerry.v1.payload_pb import Result

HERE = Path(__file__).resolve().parent

# A shell's background job ignores Ctrl-C, and programs that it starts inherit that: those of the tests are to hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Server:
    """A running test server."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self.address = "127.0.0.1:0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def env(self) -> dict[str, str]:
        return {"SKERRY_SERVER_URL": self.url, "SKERRY_TOKEN_ID": "tk-test", "SKERRY_TOKEN_SECRET": "secret"}

    def start(self) -> None:
        """Start it, at the address it had before."""
        self._process = subprocess.Popen([self._program, "-addr", self.address], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the test server did not start"

    def kill(self) -> None:
        """End it without warning; it forgets everything."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def order(self, **orders: Any) -> dict[str, Any]:
        """Give it orders (see testserver/state.go) and return what has happened so far."""
        if isinstance(orders.get("result"), Result):
            orders["result"] = base64.b64encode(orders["result"].to_binary()).decode()
        request = urllib.request.Request(f"{self.url}/control", json.dumps(orders).encode(), method="POST")
        with urllib.request.urlopen(request) as response:
            return json.load(response)


@pytest.fixture(scope="session")
def server_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("bin") / "testserver"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "testserver", check=True)
    return program


@pytest.fixture
def server(server_program: Path):
    server = Server(server_program)
    yield server
    server.kill()


@pytest.fixture
def client(server: Server):
    client = Client(server.url, "tk-test", "secret")
    yield client
    client.close()


@pytest.fixture
def echo(client: Client) -> skerry.Function[..., Any]:
    """A function that returns its arguments: ((args...), {kwargs})."""
    return skerry.Function.from_name("demo", "echo", client=client)


@pytest.fixture(autouse=True)
def clean_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_CONFIG_PATH", str(tmp_path / "skerry.toml"))
    for key in ("SERVER_URL", "TOKEN_ID", "TOKEN_SECRET", "PROFILE", "ENVIRONMENT", "IS_REMOTE"):
        monkeypatch.delenv(f"SKERRY_{key}", raising=False)
    skerry.config.config.reload()
    skerry.config.config.choose("")


@pytest.fixture
def cli(server: Server, tmp_path: Path):
    """Runs the command line as its users do, in a folder of its own."""

    def run(*arguments: str, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "skerry", *arguments],
            cwd=tmp_path,
            env={**os.environ, **server.env, "COLUMNS": "200", **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def connected(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Has the process's own client be one of the test server."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    skerry.config.config.reload()
    monkeypatch.setattr(Client, "_shared", None)  # that of an earlier test has another server
    client = skerry.Client.from_env()
    yield client
    client.close()


@pytest.fixture
def running_app(connected: Client):
    """An app on the server."""
    app = skerry.App("demo")
    with app.run():
        yield app


@pytest.fixture
def sandbox(running_app: skerry.App):
    """A sandbox whose inside is the test server's own machine."""
    return skerry.Sandbox.create(app=running_app)
