"""The servers on the demo's IPv4-only host: a dialogue, a web page, and bulk data either way.

Run it as a program; it serves until it is ended.  The two for data show what a relay must not lose:
``SINK`` answers with the SHA-256 of what it received, after the client's FIN; ``SOURCE`` ends its
data with its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import StreamRequestHandler, ThreadingTCPServer

SINK, SOURCE, DIALOGUE, PAGE = 9, 19, 23, 80  # the ports of discard, chargen, telnet and http
BULK = 64 << 20
"""Octets of a bulk transfer."""
BLOCK = 1 << 20


class Sink(StreamRequestHandler):
    """Reads everything, and answers with its SHA-256."""

    def handle(self) -> None:
        """Answer one client."""
        digest = hashlib.sha256()
        while block := self.rfile.read1(BLOCK):
            digest.update(block)
        self.wfile.write(digest.digest())


class Source(StreamRequestHandler):
    """Sends `BULK` octets, and their SHA-256."""

    def handle(self) -> None:
        """Answer one client."""
        digest = hashlib.sha256()
        block = os.urandom(BLOCK)
        for _ in range(BULK // BLOCK):
            digest.update(block)
            self.wfile.write(block)
        self.wfile.write(digest.digest())


class Dialogue(StreamRequestHandler):
    """Greets, asks for a name, and reports its client's address."""

    def handle(self) -> None:
        """Answer one client."""
        here, there = (sock()[0] for sock in (self.request.getsockname, self.request.getpeername))
        self.wfile.write(f"This is {here}, which has no IPv6 at all.\r\nlogin: ".encode())
        name = self.rfile.readline(80).strip().decode(errors="replace")
        self.wfile.write(f"Welcome, {name}. To me you are {there}.\r\n$ ".encode())
        while (command := self.rfile.readline(80).strip()) not in (b"", b"exit"):
            self.wfile.write(command + b": not here, this is a demo. Try exit.\r\n$ ")
        self.wfile.write(b"Good bye.\r\n")


class Page(BaseHTTPRequestHandler):
    """Serves one page of plain text."""

    server_version = "demo"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page."""
        text = f"A page of {self.request.getsockname()[0]}, for {self.client_address[0]}.\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *ignored: object) -> None:
        """Log nothing."""


SERVICES = {SINK: Sink, SOURCE: Source, DIALOGUE: Dialogue, PAGE: Page}


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serve all of `SERVICES`."""
    for port, service in SERVICES.items():
        server = _Server(("0.0.0.0", port), service)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
