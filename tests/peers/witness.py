"""An HTTP/1.1 server that remembers which requests it has read, and where it was cut short.

It reads by RFC 9112 §6.3, or in the other order, in which a length comes before chunks: behind a
proxy that lets a message with both pass, one of the two sees another request than the proxy did.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import Host

WAIT = 10.0
"""Seconds of silence after which a connection ends."""

_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]+)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[^\r]*chunked", re.IGNORECASE | re.MULTILINE)
_CLOSE = re.compile(rb"^connection:[^\r]*close", re.IGNORECASE | re.MULTILINE)
_EXPECTS = re.compile(rb"^expect:", re.IGNORECASE | re.MULTILINE)
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n")


@dataclass(frozen=True)
class Seen:
    """What was read, by the first part of the path: the rest of it, in its order."""

    whole: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cut: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Requests with a whole head, but not a whole body."""
    strange: list[bytes] = field(default_factory=list)
    """What is no request."""


class _Conversation(socketserver.StreamRequestHandler):
    timeout = WAIT
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):
            while head := self._head():
                if not self._answer(head):
                    return

    def _head(self) -> bytes:
        """Return the next head, b"" at the end."""
        head = b""
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            head += line
        if head and not (line and _LINE.match(head)):
            self.server.seen.strange.append(head)
            return b""
        return head

    def _answer(self, head: bytes) -> bool:
        """Read the body and answer; return whether the connection goes on."""
        method, target = head.split()[:2]
        _, case, name = urlsplit(target.decode()).path.split("/")
        if _EXPECTS.search(head):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            self._read_body(head)
        except (EOFError, OSError):
            self.server.seen.cut[case].append(name)
            return False
        self.server.seen.whole[case].append(name)
        body = f"/{case}/{name}".encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.wfile.write(answer + (body if method != b"HEAD" else b""))
        return not _CLOSE.search(head)

    def _read_body(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        if _CHUNKED.search(head) and not (length and self.server.length_first):
            while size := self._size():
                self._read(size + 2)
            while self._line() != b"\r\n":
                pass
        elif length:
            self._read(int(length[1]))

    def _size(self) -> int:
        found = _SIZE.fullmatch(self._line())
        if not found:
            raise EOFError
        return int(found[1], 16)

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line

    def _read(self, size: int) -> None:
        if len(self.rfile.read(size)) < size:
            raise EOFError


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], seen: Seen, *, length_first: bool) -> None:
        super().__init__(address, _Conversation)
        self.seen = seen
        self.length_first = length_first


@contextmanager
def witness(host: Host, address: str, port: int, *, length_first: bool) -> Iterator[Seen]:
    """Serve at *port* of *address*, an IPv4 address of *host*, while the block lasts.

    A path has two parts; the answer's body is the path.
    """
    seen = Seen()
    server = host.call(lambda: _Server((address, port), seen, length_first=length_first))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
