"""A program that runs against a daemon while the test looks at what it prints."""

import contextlib
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
import skerry
import tomllib

from e2e.daemon import ROOT, SKERRY, Daemon


class Client:
    """A running `skerry` command or script. Its lines come as they are printed."""

    def __init__(self, process: subprocess.Popen[str], daemon: Daemon) -> None:
        self.process = process
        self._daemon = daemon
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read, name="client output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, text: str, *, times: int = 1, seconds: float = 120) -> str:
        """The line that holds a text for the n-th time from here on. Raises AssertionError when the program ends or is late."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} within {seconds} s{self._context()}") from None
            if line is None:
                raise AssertionError(f"the program ended without a line with {text!r}{self._context()}")
            self.seen.append(line)
            if text in line:
                times -= 1
                if times == 0:
                    return line

    def tell(self, line: str) -> None:
        """Write a line to its standard input, which is open if it was asked for."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def finish(self, seconds: float = 300) -> list[str]:
        """Every line it printed. Raises AssertionError unless it ends by itself with exit code 0."""
        code = self.end(seconds)
        assert code == 0, f"exit code {code}{self._context()}"
        return self.seen

    def end(self, seconds: float = 300) -> int:
        """The exit code, once it has ended by itself."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program still runs after {seconds} s{self._context()}") from None
        while (line := self._lines.get(timeout=10)) is not None:
            self.seen.append(line)
        return code

    def _context(self) -> str:
        shown = "\n".join(self.seen[-40:])
        return f"\n--- its output\n{shown}\n--- skerryd\n{self._daemon.log()}"


@contextlib.contextmanager
def client(
    daemon: Daemon, argv: Sequence[str], env: dict[str, str] | None = None, cwd: Path = ROOT, *, told: bool = False
) -> Generator[Client]:
    """A program with the daemon's HOME, standard error joined to its output; at the end it is interrupted, as by Ctrl-C.

    One that is told something has a standard input of its own.
    """
    full = {**daemon.env, **(env or {})}
    process = subprocess.Popen(
        [*daemon.prefix, *argv],
        env=full,
        cwd=cwd,
        text=True,
        stdin=subprocess.PIPE if told else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Client(process, daemon)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def profile_of(daemon: Daemon) -> dict[str, str]:
    """The settings of a client of a daemon: the arguments of skerry.Client."""
    profile: dict[str, str] = tomllib.loads((daemon.home / ".skerry.toml").read_text())["local"]
    return {key: profile[key] for key in ("server_url", "token_id", "token_secret")}


@contextlib.contextmanager
def sdk_of(daemon: Daemon) -> Generator[dict[str, str]]:
    """Has the SDK in this process use a daemon, and no other's client that it still had; gives the settings."""
    profile = profile_of(daemon)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in profile.items():
            patch.setenv(f"SKERRY_{key.upper()}", value)
        skerry.Client.from_env().close()
        try:
            yield profile
        finally:
            skerry.Client.from_env().close()


def run_app(name: str, *args: str) -> list[str]:
    """The command line that runs one of e2e/apps; name may carry ::entrypoint."""
    file, _, function = name.partition("::")
    target = f"e2e/apps/{file}.py" + (f"::{function}" if function else "")
    return [str(SKERRY), "run", target, *args]
