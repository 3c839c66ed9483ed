"""The servers of a small internet, which run in a network namespace of a test: names, HTTP and HTTPS, a Git repository, an echo.

Arguments: a folder, and the user and password that the repository wants. The folder has `cert.pem`, `key.pem`, the repository
`repo.git`, and `hosts` with a line for each name: it, its address, its IPv6 address or "-". It prints "ready".
"""

import base64
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Without types of its own, so what comes of it is unknown here.
# pyright: basic, reportMissingTypeStubs=false
from dnslib import AAAA, QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSServer

ECHO_PORT = 18080


class Names(BaseResolver):
    """Answers for the names of the file, which is read at each question."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:  # noqa: ARG002 - of the base class
        """Answer a question."""
        reply = request.reply()
        asked = str(request.q.qname).rstrip(".").lower()
        rows = [line.split() for line in self._file.read_text().splitlines()]
        known = {name: (four, six) for name, four, six in rows}
        if asked not in known:
            reply.header.rcode = 3
            return reply
        four, six = known[asked]
        if request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=60, rdata=A(four)))
        if request.q.qtype == QTYPE.AAAA and six != "-":
            reply.add_answer(RR(request.q.qname, QTYPE.AAAA, ttl=60, rdata=AAAA(six)))
        return reply


class Pages(BaseHTTPRequestHandler):
    """Says where a request has come to, for whom, and what credentials it had, as a digest."""

    protocol_version = "HTTP/1.1"
    folder: Path
    login: str

    def do_GET(self) -> None:
        """Answer."""
        if self.path.startswith("/repo.git"):
            self._git()
            return
        credentials = self.headers.get("Authorization", "")
        digest = hashlib.sha256(credentials.encode()).hexdigest() if credentials else "none"
        self._send(200, f"{self.connection.getsockname()[0]} {self.headers.get('Host')} {digest}\n".encode())

    do_POST = do_GET  # noqa: N815 - as the base class wants it

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _git(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(self.login.encode()).decode():
            self._send(401, b"", {"WWW-Authenticate": 'Basic realm="git"'})
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": "user",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        self._send(status, answer, fields)

    def _chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        """Say nothing."""


def _echo() -> None:
    server = socket.create_server(("", ECHO_PORT), backlog=100)

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return  # cut

    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()


def main() -> None:
    """Serve until it is killed."""
    folder = Path(sys.argv[1])
    Pages.folder, Pages.login = folder, sys.argv[2]
    DNSServer(Names(folder / "hosts"), port=53, address="0.0.0.0").start_thread()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    plain, secure = ThreadingHTTPServer(("", 80), Pages), ThreadingHTTPServer(("", 443), Pages)
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    threads = [threading.Thread(target=serve, daemon=True) for serve in (plain.serve_forever, secure.serve_forever, _echo)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
