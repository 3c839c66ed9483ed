"""A program on a terminal of its own, whose keys the test presses."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Generator, Sequence

from e2e.daemon import ROOT, Daemon

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\a]*\a|\r")


class Terminal:
    """What is shown comes as text, without what moves the cursor and changes colours."""

    def __init__(self, pid: int, master: int, daemon: Daemon) -> None:
        self.pid = pid
        self.shown = ""
        self._master = master
        self._daemon = daemon
        self._from = 0
        self._code: int | None = None

    def until(self, text: str, seconds: float = 120) -> str:
        """Everything that is shown from where the last one ended to the text. Raises AssertionError when it does not come."""
        deadline = time.monotonic() + seconds
        while (found := self.shown.find(text, self._from)) < 0:
            assert self._read(deadline), f"no {text!r} within {seconds} s{self._context()}"
        before = self._from
        self._from = found + len(text)
        return self.shown[before : self._from]

    def press(self, keys: str) -> None:
        """Type keys: a carriage return is Enter, the character 3 is Ctrl-C."""
        os.write(self._master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def is_raw(self) -> bool:
        """Whether keys go to the program one by one and unchanged."""
        return not termios.tcgetattr(self._master)[3] & termios.ICANON

    def end(self, seconds: float = 60) -> int:
        """The exit code, once it has ended by itself."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        assert self._wait(max(0.0, deadline - time.monotonic())), f"the program still runs after {seconds} s{self._context()}"
        assert self._code is not None
        return self._code

    def close(self) -> None:
        """End it as a closed window does, and for good if that is not enough."""
        for number in (signal.SIGHUP, signal.SIGKILL):
            if self._code is None:
                os.kill(self.pid, number)
                self._wait(20)
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        """Take what is shown next; False at the end, and when it is late."""
        if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the terminal open any more
            return False
        self.shown += _CONTROL.sub("", data.decode(errors="replace"))
        return bool(data)

    def _wait(self, seconds: float) -> bool:
        if self._code is not None:
            return True
        handle = os.pidfd_open(self.pid)
        try:
            if not select.select([handle], [], [], seconds)[0]:
                return False
        finally:
            os.close(handle)
        self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return True

    def _context(self) -> str:
        return f"\n--- on the terminal\n{self.shown[-4000:]}\n--- skerryd\n{self._daemon.log()}"


@contextlib.contextmanager
def terminal(daemon: Daemon, argv: Sequence[str], rows: int = 40, columns: int = 120) -> Generator[Terminal]:
    """A program with the daemon's HOME on a terminal of some size."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe(argv[0], list(argv), {**daemon.env, "TERM": "xterm-256color"})
    shown = Terminal(pid, master, daemon)
    shown.resize(rows, columns)
    try:
        yield shown
    finally:
        shown.close()
