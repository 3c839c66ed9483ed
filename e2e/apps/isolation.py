"""Looks around from inside a container."""

import contextlib
import os
import socket
from pathlib import Path

import skerry

app = skerry.App("isolation")


@app.function(max_containers=1)
def environment() -> dict[str, str]:
    return dict(os.environ)


@app.function(max_containers=1)
def find(secret: bytes) -> list[str]:
    """Files that hold the secret, everywhere but where a read never ends or this very call's arguments are."""
    found = []
    for top in ("/__skerry", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/dev/shm"):
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and secret in path.read_bytes():
                    found.append(str(path))
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(PermissionError):  # init's own, which has nothing of ours either
            if secret in path.read_bytes():
                found.append(str(path))
    return found


@app.function(max_containers=1)
def reach(addresses: list[tuple[str, int]]) -> dict[str, str]:
    """What connecting to each address gives: "reached" or the error."""
    answers = {}
    for host, port in [*addresses, (gateway(), addresses[0][1])]:
        try:
            with socket.create_connection((host, port), timeout=3) as connection:
                answers[f"{host}:{port}"] = connection.recv(16).decode() or "closed"
        except OSError as error:
            answers[f"{host}:{port}"] = f"error: {error}"
    return answers


def gateway() -> str:
    """The default route's next hop, which is the host."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000":
            return ".".join(str(byte) for byte in bytes.fromhex(fields[2])[::-1])
    raise LookupError("no default route")


@app.function(max_containers=1)
def listen(port: int) -> None:
    """Answers on every address until its app stops; prints its own address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((gateway(), 9))
        own = probe.getsockname()[0]
    with socket.create_server(("0.0.0.0", port)) as server:
        print(f"listening on {own}", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"reached")


@app.local_entrypoint()
def look(secret: str) -> None:
    print(f"environment {sorted(environment.remote().items())}", flush=True)
    print(f"found {find.remote(secret.encode())}", flush=True)


@app.local_entrypoint()
def connect(addresses: str) -> None:
    targets = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in addresses.split(","))]
    for address, answer in reach.remote(targets).items():
        print(f"answer|{address}|{answer}", flush=True)


@app.local_entrypoint()
def serve(port: int) -> None:
    listen.remote(port)
