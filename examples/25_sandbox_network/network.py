"""A server in a sandbox, reached from outside; and what a sandbox may reach."""

import urllib.request

import skerry

app = skerry.App.lookup("examples", create_if_missing=True)

CONNECT = """
import socket
try:
    socket.create_connection(("1.1.1.1", 443), timeout=3).close()
    print("open")
except OSError as err:
    print("closed")
"""


def main() -> None:
    """Reach a port, with and without having named it before."""
    sandbox = skerry.Sandbox.create(
        "python3",
        "-m",
        "http.server",
        "8000",
        app=app,
        workdir="/etc",
        encrypted_ports=[8000],
        readiness_probe=skerry.Probe.with_tcp(8000),
        outbound_cidr_allowlist=[],
    )
    try:
        sandbox.wait_until_ready()
        with urllib.request.urlopen(sandbox.tunnels()[8000].url + "/hostname", timeout=30) as answer:
            print("named before:", answer.status)

        server = sandbox.exec("python3", "-u", "-m", "http.server", "9000", "--directory", "/etc")
        next(iter(server.stdout))  # it says that it serves
        with urllib.request.urlopen(sandbox.tunnel(9000).url + "/hostname", timeout=30) as answer:
            print("opened now:", answer.status)

        print("outside:", sandbox.exec("python3", "-c", CONNECT).stdout.read().strip())
    finally:
        sandbox.terminate()


if __name__ == "__main__":
    main()
