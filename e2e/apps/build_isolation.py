"""What a build step gets of addresses, and one that never ends."""

import os
from pathlib import Path

import skerry

app = skerry.App("build-isolation")

CONNECT = """
import socket, sys
for target in sys.argv[1].split(","):
    host, port = target.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            answer = connection.recv(16).decode()
    except OSError as error:
        answer = f"error {error}"
    print(f"answer|{target}|{answer}")
"""

addresses = os.environ.get("ADDRESSES", "127.0.0.1:1")
curious = skerry.Image.debian_slim().run_commands(f"python -c '{CONNECT}' {addresses} > /answers")
endless = skerry.Image.debian_slim().run_commands(f"echo {os.environ.get('TAG', 'none')} has 'be''gun'; sleep 1000")


@app.function(image=curious)
def answers() -> str:
    return Path("/answers").read_text()


@app.local_entrypoint()
def main() -> None:
    print(answers.remote(), flush=True)


waiting = skerry.App("endless-build", image=endless)


@waiting.function()
def never() -> None:
    pass


@waiting.local_entrypoint()
def wait() -> None:
    never.remote()
