"""Lends its terminal to the runner: a program of its own, which the client starts with a terminal. Needs nothing but Python."""

import os
import signal
import socket
import sys


def main() -> None:
    """Tell the runner, over its socket, which terminal this is, and stay until it is done."""
    path = sys.argv[1]
    runner = int(path.rpartition("-")[2])
    # The terminal's keys signal this process, whose terminal it is; they are meant for the code that uses it.
    signal.signal(signal.SIGINT, lambda _signal, _frame: os.kill(runner, signal.SIGINT))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(os.ttyname(0).encode() + b"\n")
    while connection.recv(1024):
        pass


if __name__ == "__main__":
    main()
