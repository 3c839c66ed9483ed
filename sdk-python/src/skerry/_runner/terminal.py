"""Lends its terminal to the runner: a program of its own, which the client starts with a terminal. Needs nothing but Python."""

import os
import signal
import socket
import sys


def main() -> None:
    """Tell the runner, over its socket, which terminal this is, and stay until it is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    connection.sendall(os.ttyname(0).encode() + b"\n")
    while connection.recv(1024):
        pass


if __name__ == "__main__":
    main()
