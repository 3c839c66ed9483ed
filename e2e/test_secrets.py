"""Values of secrets, and the key that they are sealed under, are nowhere but where they are meant to be."""

import base64
import gzip
import re
import signal
import uuid
import zlib
from collections.abc import Generator
from pathlib import Path

from e2e.client import client, run_app
from e2e.daemon import Daemon
from e2e.processes import running

# What is packed and written as text, such as the logs of builds.
_PACKED = re.compile(rb"H4sI[0-9A-Za-z+/]{40,}={0,2}")


def test_values_of_secrets_are_in_nothing_that_is_kept(daemon: Daemon) -> None:
    value, name = uuid.uuid4().hex + uuid.uuid4().hex, f"kept-{uuid.uuid4().hex[:12]}"
    with client(daemon, run_app("kept_secret"), {"SECRET_VALUE": value, "SECRET_NAME": name}) as program:
        # In the sandbox whose secret stays outside is the placeholder, and nothing of the value.
        assert program.until("found ") == "found 0"
        assert program.until("found ") != "found 0", "the search finds nothing at all"
        program.until("used")
        while_used = [*_told(daemon, value.encode()), *_held(daemon, value.encode())]
        program.process.send_signal(signal.SIGINT)
        program.end()
    assert value not in "\n".join(program.seen)
    assert while_used == []
    assert _held(daemon, value.encode()) == []
    assert any("skerry.db" in place for place in _held(daemon, name.encode())), "the search finds nothing at all"


def test_the_master_key_is_in_its_file_alone(daemon: Daemon) -> None:
    key = (daemon.data / "gateway/master.key").read_bytes()
    assert len(key) == 32
    assert [place for place in _held(daemon, key) if not place.endswith("/gateway/master.key")] == []
    assert _told(daemon, key) == []


def _forms(secret: bytes) -> list[bytes]:
    """How something may be written down."""
    forms = [secret, secret.hex().encode(), secret.hex().upper().encode(), secret.decode("latin-1").encode("utf-16-le")]
    for shift in range(3):  # base64 of it behind other bytes; what neighbours have a part in is left out
        coded = base64.b64encode(b"\0" * shift + secret)
        middle = coded[4:-4] if shift else coded[:-4]
        forms += [middle, middle.replace(b"+", b"-").replace(b"/", b"_")]
    return forms


def _held(daemon: Daemon, secret: bytes) -> list[str]:
    """Files of the installation that have it: its data, its logs, and what it has on the host while it runs."""
    forms = _forms(secret)
    found: list[str] = []
    for folder in (daemon.data, Path("/run/skerry") / daemon.instance):
        for path in folder.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            try:
                found += [str(path) for piece in _pieces(path) if any(form in piece for form in forms)][:1]
            except OSError:
                continue  # it has gone meanwhile
    return found


def _pieces(path: Path) -> Generator[bytes]:
    """A file, in pieces that overlap, and what is packed in it."""
    with path.open("rb") as file:
        tail = b""
        while data := file.read(16 << 20):
            piece = tail + data
            yield piece
            for packed in _PACKED.finditer(piece):
                text = packed.group()
                try:
                    yield gzip.decompress(base64.b64decode(text[: len(text) // 4 * 4]))
                except (OSError, EOFError, zlib.error, ValueError):
                    continue  # something else that looks so, or a part
            tail = piece[-4096:]


def _told(daemon: Daemon, secret: bytes) -> list[str]:
    """Processes of the installation that have it in their command line or environment."""
    pids = {*running(str(daemon.data)), *running(f"/run/skerry/{daemon.instance}")}
    assert daemon.pid in pids
    found: list[str] = []
    for pid in pids:
        for kind in ("cmdline", "environ"):
            try:
                text = Path(f"/proc/{pid}/{kind}").read_bytes()
            except OSError:
                continue  # it has ended
            found += [f"{kind} of {pid}" for form in _forms(secret) if form in text]
    return found
