"""An HTTP/1.1 server that says in its answer what octets it got, and misbehaves by request."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host

WAIT = 10.0
"""Seconds of silence after which a connection ends."""

_HEAD = re.compile(rb"\A.*?\r?\n\r?\n", re.DOTALL)
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:.*chunked", re.IGNORECASE | re.MULTILINE)
_EXPECTS = re.compile(rb"^expect:[ \t]*100-continue", re.IGNORECASE | re.MULTILINE)

FIXED: dict[str, bytes] = {
    "/204": b"HTTP/1.1 204 No Content\r\nX-Seen: yes\r\n\r\n",
    "/304": b'HTTP/1.1 304 Not Modified\r\nETag: "one"\r\nContent-Length: 5\r\n\r\n',
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
    "/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"3\r\none\r\n0\r\nX-Sum: 42\r\n\r\n",
    "/103": b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    "/hop": b"HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: secret\r\n"
    b"Keep-Alive: timeout=5\r\nContent-Length: 4\r\n\r\nbody",
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "/silent-end": b"",
    "/garbage": b"what you want is not here\r\n\r\n",
    "/two-framings": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\none\r\n0\r\n\r\n",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nfour",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "/upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
}
"""What is answered by path, whatever is asked; anywhere else, the request's octets."""
_ENDS = frozenset({"/until-close", "/silent-end", "/garbage", "/two-lengths", "/short"})
"""The paths after whose answer the connection is closed."""


class _Conversation(socketserver.StreamRequestHandler):
    timeout = WAIT

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._buffer = b""
            while self._answer():
                pass

    def _more(self) -> bool:
        data = self.request.recv(65536)
        self._buffer += data
        return bool(data)

    def _answer(self) -> bool:
        while not (found := _HEAD.match(self._buffer)):
            if not self._more():
                return False
        head = found[0]
        if _EXPECTS.search(head):
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = len(head) + self._body_size(head)
        while len(self._buffer) < size:
            if not self._more():
                return False
        asked, self._buffer = self._buffer[:size], self._buffer[size:]
        words = asked.split(maxsplit=2)
        path = words[1].decode("latin-1")
        answer = FIXED.get(path)
        if answer is None:
            length = len(asked) if words[0] != b"HEAD" else 0
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(asked)
            answer += asked[:length]
        self.request.sendall(answer)
        if path == "/upgrade":
            return self._say_again()
        return path not in _ENDS

    def _body_size(self, head: bytes) -> int:
        if _CHUNKED.search(head):
            while not (
                end := re.search(rb"\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n|\A0\r\n\r\n", self._rest(head))
            ):
                if not self._more():
                    raise ConnectionResetError
            return end.end()
        found = _LENGTH.search(head)
        return int(found[1]) if found else 0

    def _rest(self, head: bytes) -> bytes:
        return self._buffer[len(head) :]

    def _say_again(self) -> bool:
        while self._buffer or self._more():
            self.request.sendall(self._buffer)
            self._buffer = b""
        return False


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Conversation)


@contextlib.contextmanager
def origin(host: Host, address: str, *ports: int) -> Iterator[None]:
    """Serve at *address* of *host*, on all *ports*, while the block lasts."""
    with contextlib.ExitStack() as running:
        for port in ports:
            server = host.call(_Server, (address, port))
            running.callback(server.server_close)
            serve: Callable[[], None] = server.serve_forever
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
        yield
