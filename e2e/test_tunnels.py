"""Ports of sandboxes, as they are reached from outside."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from e2e.client import Client
from e2e.daemon import ROOT, Daemon


def _answer(url: str, token: str = "") -> dict[str, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def _status(url: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=60)
    with caught.value as error:
        return error.code, error.read().decode()


def _talk(host: str, port: str) -> bytes:
    with socket.create_connection((host, int(port)), timeout=60) as conn:
        conn.sendall(b"one\ntwo\n")
        conn.shutdown(socket.SHUT_WR)
        with conn.makefile("rb") as lines:
            return lines.read()


def test_ports_are_reached_also_after_a_killed_daemon(daemon: Daemon) -> None:
    argv = [str(ROOT / ".venv/bin/python"), "e2e/apps/tunnels.py"]
    with subprocess.Popen(
        argv, env=daemon.env, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        program = Client(process, daemon)
        try:
            at = {
                line.split()[0]: line.split()[1:]
                for line in (program.until(word) for word in ("http ", "tcp ", "token ", "signed ", "nothing "))
            }
            _look(at)
            first = _answer(at["http"][0])["pid"]
            daemon.kill()
            daemon.start()
            _look(at)
            assert _answer(at["http"][0])["pid"] == first
            assert process.stdin is not None
            print(file=process.stdin, flush=True)
            program.until("ended")
        finally:
            if process.poll() is None:
                process.terminate()
    with pytest.raises(urllib.error.URLError):
        _answer(at["http"][0])


def _look(at: dict[str, list[str]]) -> None:
    url, token = at["token"]
    assert {k: v for k, v in _answer(at["http"][0] + "/a?b").items() if k != "pid"} == {
        "path": "/a?b",
        "for": None,
        "user": None,
        "authorization": None,
    }
    told = _answer(url + "/a", token)
    assert (told["for"], json.loads(told["user"]), told["authorization"]) == ("127.0.0.1", {"user": "alice"}, None)
    assert _answer(at["signed"][0])["path"] == "/"
    assert _status(url)[0] == 401
    assert _status(at["nothing"][0]) == (502, "nothing listens at port 8001\n")
    assert _talk(*at["tcp"]) == b"echo one\necho two\nbye\n"
    large = os.urandom(20_000_000)
    for where, headers in ((at["http"][0], {}), (url, {"Authorization": f"Bearer {token}"})):
        with urllib.request.urlopen(urllib.request.Request(where, data=large, headers=headers), timeout=120) as response:
            assert response.read() == large
