"""A sandbox with servers at two ports. Says how they are reached, and ends it when it is told to."""

import sys

import skerry

SERVERS = """
import http.server, json, os, socketserver, threading

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({
            "pid": os.getpid(), "path": self.path, "for": self.headers.get("X-Forwarded-For"),
            "user": self.headers.get("X-Skerry-User-Metadata"), "authorization": self.headers.get("Authorization"),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        kept = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(kept)))
        self.end_headers()
        self.wfile.write(kept)

    def log_message(self, *args):
        pass

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"echo " + line)
        self.wfile.write(b"bye\\n")

class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

echo = Threads(("", 9000), Echo)
threading.Thread(target=echo.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""


def main() -> None:
    """Print where the ports are, then wait for a line of input."""
    app = skerry.App.lookup("tunnels", create_if_missing=True)
    sandbox = skerry.Sandbox.create(
        "python3",
        "-c",
        SERVERS,
        app=app,
        encrypted_ports=[8000],
        unencrypted_ports=[9000],
        timeout=600,
        readiness_probe=skerry.Probe.with_tcp(8000),
    )
    try:
        sandbox.wait_until_ready()
        tunnels = sandbox.tunnels()
        token = sandbox.create_connect_token({"user": "alice"}, port=8000)
        print("http", tunnels[8000].url)
        print("tcp", *tunnels[9000].tcp_socket)
        print("token", token.url, token.token)
        print("signed", sandbox.signed_url(8000, 600), flush=True)
        print("nothing", sandbox.tunnel(8001).url, flush=True)
        sys.stdin.readline()
    finally:
        sandbox.terminate(wait=True)
    print("ended", flush=True)


main()
