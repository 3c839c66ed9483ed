"""Terminals, and streams of any size."""

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import skerry
from skerry.container_process import ContainerProcess
from skerry.types import FileWatchEvent

from e2e.daemon import Daemon

from .conftest import Make
from .remains import resident_mib

MIB = 1 << 20
# How much more skerryd, and the sandbox's init, may hold for a stream of any size, in MiB.
SLACK = 64
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\a]*\a|\x1b[()].|\x1b[=>]")


class Screen:
    """What a program shows on its terminal, as text without what moves the cursor."""

    def __init__(self, process: ContainerProcess[str]) -> None:
        self._process = process
        self._parts = iter(process.stdout)
        self._raw = ""

    def until(self, pattern: str) -> str:
        """Read until a pattern is shown, and pass over it. Raises AssertionError where the program ends without."""
        while not (found := re.search(pattern, _CONTROL.sub("", self._raw))):
            part = next(self._parts, None)
            assert part is not None, f"the program ended; on its terminal: {self._raw!r}"
            self._raw += part
        self._raw = ""
        return found[0]

    def press(self, keys: str) -> None:
        """Type."""
        self._process.stdin.write(keys)
        self._process.stdin.drain()


def _bring(sandbox: skerry.Sandbox, program: str) -> list[str]:
    """Copy a program of this machine with its libraries into a sandbox; the command that runs it."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    for path in [program, *libraries]:
        sandbox.filesystem.copy_from_local(path, f"/opt/brought/{Path(path).name}")
    loader = next(Path(path).name for path in libraries if Path(path).name.startswith("ld-"))
    return [f"/opt/brought/{loader}", "--library-path", "/opt/brought", f"/opt/brought/{Path(program).name}"]


def test_top_on_a_terminal(make: Make) -> None:
    sandbox = make()
    process = sandbox.exec(*_bring(sandbox, "/usr/bin/top"), "-d", "1", pty=True, env={"TERM": "xterm", "TERMINFO": "/usr/share/terminfo"})
    screen = Screen(process)
    screen.until(r"(?s)top - .*Tasks:.*PID.*COMMAND")
    process.resize(50, 132)
    screen.until(r"(?s)top - .*skerry-init")
    screen.press("h")
    screen.until("Help for Interactive Commands")
    screen.press("q")
    screen.until(r"(?s)top - .*Tasks:")
    screen.press("q")
    assert process.wait() == 0


class Emulator:
    """A terminal's screen, as a person sees it."""

    def __init__(self, process: ContainerProcess[str], rows: int, columns: int) -> None:
        self._process = process
        self._parts = iter(process.stdout)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Read until the lines are as they should be. Raises AssertionError where the program ends before."""
        while not seen(lines := [line.rstrip() for line in self._screen.display]):
            part = next(self._parts, None)
            assert part is not None, f"the program ended; on its screen: {lines}"
            self._stream.feed(part)
        return lines

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        self._screen.resize(rows, columns)
        self._process.resize(rows, columns)

    def press(self, keys: str) -> None:
        """Type."""
        self._process.stdin.write(keys)
        self._process.stdin.drain()


def test_vim_on_a_terminal(make: Make, app: skerry.App) -> None:
    sandbox = make(image=skerry.Image.debian_slim().apt_install("vim-tiny").build(app))
    sandbox.filesystem.write_text("first line\nsecond line\n", "/tmp/text")
    process = sandbox.exec("vim.tiny", "-u", "NONE", "/tmp/text", pty=True, env={"TERM": "linux"})
    screen = Emulator(process, 24, 80)
    lines = screen.until(lambda lines: lines[0] == "first line" and "text" in lines[23])
    assert lines[1:23] == ["second line", *["~"] * 21]
    screen.resize(40, 120)
    # The line at the bottom moves to where the bottom is now.
    screen.press(":set ruler\r")
    lines = screen.until(lambda lines: lines[39].find("1,1") > 80)
    assert lines[:39] == ["first line", "second line", *["~"] * 37]
    screen.press("jA, and more\x1b")
    screen.until(lambda lines: lines[1] == "second line, and more" and "2,21" in lines[39])
    screen.press("Oa line between: \u00fc\x1b:w\r")
    screen.until(lambda lines: "written" in lines[39])
    assert sandbox.filesystem.read_text("/tmp/text") == "first line\na line between: \u00fc\nsecond line, and more\n"
    screen.press("ggdG:q!\r")
    assert process.wait() == 0


def test_standard_input_of_any_size(daemon: Daemon, make: Make, full: bool) -> None:
    count = 1000 if full else 20
    sandbox = make()
    process = sandbox.exec("wc", "-c")
    before = resident_mib(daemon.pid)
    block = bytes(MIB)
    for _ in range(count):
        process.stdin.write(block)
        process.stdin.drain()
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read().strip() == str(count * MIB)
    assert resident_mib(daemon.pid) - before < SLACK


def test_a_large_file_both_ways(daemon: Daemon, make: Make, full: bool, tmp_path: Path) -> None:
    count = 200 if full else 20
    sent, got = tmp_path / "sent", tmp_path / "got"
    digest = hashlib.sha256()
    with sent.open("wb") as file:
        for _ in range(count):
            data = os.urandom(MIB)
            digest.update(data)
            file.write(data)
    sandbox = make()
    before, init = resident_mib(daemon.pid), _init_mib(sandbox)
    sandbox.filesystem.copy_from_local(sent, "/large")
    assert sandbox.exec("sha256sum", "/large").stdout.read().split()[0] == digest.hexdigest()
    sandbox.filesystem.copy_to_local("/large", got)
    with got.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    assert resident_mib(daemon.pid) - before < SLACK
    assert _init_mib(sandbox) - init < SLACK


def _init_mib(sandbox: skerry.Sandbox) -> float:
    text = sandbox.filesystem.read_text("/proc/1/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None, text
    return int(found[1]) / 1024


def test_watch_sees_all_changes(make: Make) -> None:
    sandbox = make()
    sandbox.filesystem.make_directory("/seen/deep")
    events: Iterator[FileWatchEvent] = sandbox.filesystem.watch("/seen", recursive=True)
    commands = [
        "echo one > /seen/deep/one",
        "echo two >> /seen/deep/one",
        "mv /seen/deep/one /seen/deep/two",
        "rm /seen/deep/two",
        "touch /seen/last",
    ]
    for command in commands:
        assert sandbox.exec("sh", "-c", command).wait() == 0
    seen: list[tuple[str, list[str]]] = []
    while ("Create", ["/seen/last"]) not in seen:
        event = next(events)
        seen.append((event.type.name, list(event.paths)))
    for wanted in [
        ("Create", ["/seen/deep/one"]),
        ("Modify", ["/seen/deep/one"]),
        ("Modify", ["/seen/deep/one", "/seen/deep/two"]),
        ("Remove", ["/seen/deep/two"]),
    ]:
        assert wanted in seen, seen


HALF = """
import hashlib, socket
server = socket.create_server(("127.0.0.1", 9000))
print("listens", flush=True)
for _ in range(5):
    conn, _ = server.accept()
    conn.sendall(b"all I have")
    conn.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256()
    while data := conn.recv(1 << 16):
        digest.update(data)
    print(digest.hexdigest(), flush=True)
"""


def test_ports_end_each_direction_by_itself(make: Make) -> None:
    sandbox = make(unencrypted_ports=[9000])
    server = sandbox.exec("python3", "-c", HALF, bufsize=1)
    said = iter(server.stdout)
    assert next(said) == "listens\n"
    for _ in range(5):
        with socket.create_connection(sandbox.tunnels()[9000].tcp_socket, timeout=60) as conn:
            with conn.makefile("rb") as answer:
                assert answer.read() == b"all I have"  # the end is seen while this side is still to send
            data = os.urandom(3 * MIB + 17)
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)
            assert next(said).strip() == hashlib.sha256(data).hexdigest()
    assert server.wait() == 0
