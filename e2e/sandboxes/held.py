"""A program that has sandboxes in use while parts of Skerry are killed.

It says "open" then, goes on at a line on its standard input, and says "complete" if nothing was lost and nothing doubled.
"""

import contextlib
import hashlib
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator

import skerry
from skerry.container_process import ContainerProcess
from skerry.exception import ConflictError, InternalFailure
from skerry.sandbox import SidecarContainer

TICKS = "i=0; while true; do echo tick $i; i=$((i+1)); sleep 0.05; done"
LINES = "i=0; while [ ! -e /tmp/go ]; do echo line $i; echo fault $i >&2; i=$((i+1)); sleep 0.02; done; echo end $i"
SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
server = http.server.ThreadingHTTPServer(("", 8000), Answer)
print("listens", flush=True)
server.serve_forever()
"""
# Of each process: its pid, and when it started (field 22 of stat).
PROCESSES = "for f in /proc/[0-9]*/stat; do cut -d ' ' -f 1,22 $f 2>/dev/null; done"


class Work:
    """Something that goes on in a thread of its own."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._errors: list[BaseException] = []
        self._do = do
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._do()
        except Exception as err:  # noqa: BLE001 - raised by end
            self._errors.append(err)

    def end(self) -> None:
        """Wait for it. Raises what it raised."""
        self._thread.join(120)
        assert not self._thread.is_alive(), f"{self._do.__name__} has not ended"
        if self._errors:
            raise self._errors[0]


def main() -> None:
    """Hold, be held."""
    name = f"held-{os.getpid()}"
    app = skerry.App.lookup(name, create_if_missing=True)
    sandbox = skerry.Sandbox.create("sh", "-c", TICKS, app=app, name="held", tags={"kind": name}, timeout=900, encrypted_ports=[8000])
    victim = skerry.Sandbox.create(app=app, timeout=900)
    _say(victim, "true")
    web = sandbox.exec("python3", "-u", "-c", SERVER, bufsize=1)
    assert next(iter(web.stdout)) == "listens\n"
    url = sandbox.tunnels()[8000].url
    server = _get(url)
    terminal = sandbox.exec("sh", pty=True, bufsize=1)
    shown = iter(terminal.stdout)
    _type(terminal, shown, "X=forty; stty size; echo $X-two\n", "forty-two")
    talk = sandbox.exec("sh", "-c", LINES)
    counted = sandbox.exec("sha256sum")
    side = sandbox._experimental_sidecars.create("sh", "-c", TICKS, name="side", image=skerry.Image.debian_slim())  # pyright: ignore[reportPrivateUsage]
    aside = side.exec("cat", bufsize=1)
    answers = iter(aside.stdout)
    _echo(aside, answers, "before")
    beside = _say(side, "cut -d ' ' -f 1,22 /proc/1/stat")
    before = set(_say(sandbox, PROCESSES).splitlines())
    restarted = threading.Event()

    def feed() -> None:
        digest = hashlib.sha256()
        last = 20
        while last > 0:
            last -= restarted.is_set()
            data = os.urandom(100_003)
            digest.update(data)
            counted.stdin.write(data)
            counted.stdin.drain()
        counted.stdin.write_eof()
        counted.stdin.drain()
        assert counted.stdout.read().split()[0] == digest.hexdigest(), "standard input is not what was written"

    def upload() -> None:
        last = 2
        while last > 0:
            last -= restarted.is_set()
            data = os.urandom(3_000_001)
            sandbox.filesystem.write_bytes(data, "/tmp/up")
            assert hashlib.sha256(sandbox.filesystem.read_bytes("/tmp/up")).digest() == hashlib.sha256(data).digest()

    lines: list[str] = []
    works = [Work(feed), Work(upload), Work(lambda: lines.append(talk.stdout.read()))]
    last_made = skerry.Sandbox.create(app=app, timeout=900)
    print(f"open {victim.object_id}", flush=True)
    sys.stdin.readline()
    _check_reached(sandbox, victim, last_made, app, before)
    assert sandbox.tunnels()[8000].url == url
    assert _get(url) == server
    _echo(aside, answers, "after")
    assert _say(side, "cut -d ' ' -f 1,22 /proc/1/stat") == beside
    assert [each.object_id for each in sandbox._experimental_sidecars.list()] == [side.object_id]  # pyright: ignore[reportPrivateUsage]
    terminal.resize(33, 99)
    _type(terminal, shown, "stty size; echo $X-four\n", "33 99", "forty-four")
    restarted.set()
    sandbox.filesystem.write_text("", "/tmp/go")
    for work in works:
        work.end()
    _check_output(lines[0], talk.stderr.read())
    sandbox.terminate(wait=True)
    for ticks in (sandbox.stdout.read().splitlines(), [entry.message.rstrip() for entry in side.logs.fetch()]):
        wrong = [(i, line) for i, line in enumerate(ticks) if line != f"tick {i}"]
        assert not wrong, f"of {len(ticks)} lines of the command: {wrong[:5]}"
        assert ticks
    last_made.terminate(wait=True)
    print("complete", flush=True)


def _check_reached(sandbox: skerry.Sandbox, victim: skerry.Sandbox, last_made: skerry.Sandbox, app: skerry.App, before: set[str]) -> None:
    gone = before - set(_say(sandbox, PROCESSES).splitlines())
    # What has ended by itself by now is the program that listed them, and a sleep.
    missing = {line for line in gone if int(line.split()[1]) < max(int(each.split()[1]) for each in before) - 100}
    assert not missing, f"processes that have not survived: {missing}"
    # One that was just being made has come up, or is known not to have.
    usable = {sandbox.object_id}
    try:
        assert _say(last_made, "echo usable") == "usable\n"
        usable.add(last_made.object_id)
    except ConflictError:
        assert last_made.info().end_reason == "start_failed", last_made.info()
    with contextlib.suppress(InternalFailure):
        victim.wait()
    assert victim.info().end_reason == "lost", victim.info()
    assert skerry.Sandbox.from_name(f"held-{os.getpid()}", "held").object_id == sandbox.object_id
    assert [each.object_id for each in skerry.Sandbox.list(tags={"kind": f"held-{os.getpid()}"})] == [sandbox.object_id]
    listed = {each.object_id for each in skerry.Sandbox.list(app_id=app.app_id)}
    assert listed == usable
    assert sandbox.get_tags() == {"kind": f"held-{os.getpid()}"}


def _check_output(stdout: str, stderr: str) -> None:
    out = stdout.splitlines()
    count = len(out) - 1
    assert out == [*(f"line {i}" for i in range(count)), f"end {count}"]
    assert stderr.splitlines() == [f"fault {i}" for i in range(count)]


def _echo(cat: ContainerProcess[str], answers: Iterator[str], text: str) -> None:
    cat.stdin.write(text + "\n")
    cat.stdin.drain()
    assert next(answers) == text + "\n"


def _say(sandbox: skerry.Sandbox | SidecarContainer, command: str) -> str:
    process = sandbox.exec("sh", "-c", command)
    return process.stdout.read()


def _type(terminal: ContainerProcess[str], shown: Iterator[str], keys: str, *wanted: str) -> None:
    terminal.stdin.write(keys)
    terminal.stdin.drain()
    for text in wanted:
        while next(shown).strip() != text:
            pass


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read()


if __name__ == "__main__":
    main()
