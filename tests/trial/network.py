"""Three hosts in a booted machine: it is the gateway, a client and a server are namespaces.

Only the standard library and ip(8) are at hand there.
"""

from __future__ import annotations

import ctypes
import http.server
import os
import socket
import ssl
import struct
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "2001:db8:ffff::/96"
SERVER = "2001:db8:ffff::192.0.2.80"
SERVER_V4 = "192.0.2.80"
SERVER_NAME = "server.example"
"""What the gateway's hosts(5) is to have for the server."""
GATEWAY = "2001:db8:6::1"
LIMIT = 10.0
"""Seconds that a peer may take to answer."""

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)

SET_UP = """
netns add client
netns add server
link add c type veth peer name eth0 netns client
link add s type veth peer name eth0 netns server
address add 2001:db8:6::1/64 dev c nodad
address add 192.0.2.1/24 dev s
link set c up
link set s up
-netns client address add 2001:db8:6::2/64 dev eth0 nodad
-netns client link set lo up
-netns client link set eth0 up
-netns client route add default via 2001:db8:6::1
-netns server address add 192.0.2.80/24 dev eth0
-netns server link set lo up
-netns server link set eth0 up
"""


def set_up() -> None:
    """Make the hosts, which end with the machine."""
    for line in SET_UP.split("\n"):
        if line:
            subprocess.run(["ip", *line.split()], check=True)


@contextmanager
def inside(host: str) -> Iterator[None]:
    """Have this thread be on *host*, client or server."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{host}", os.O_RDONLY)
    try:
        assert not _LIBC.setns(there, CLONE_NEWNET), os.strerror(ctypes.get_errno())
        yield
        assert not _LIBC.setns(here, CLONE_NEWNET)
    finally:
        os.close(here)
        os.close(there)


def echo(*ports: int) -> None:
    """Serve TCP on *ports* of the server: what comes goes back, until the client has ended."""
    for port in ports:
        with inside("server"):
            listener = socket.create_server(("192.0.2.80", port))
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()


def _accept(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_echo, args=(sock,), daemon=True).start()


def _echo(sock: socket.socket) -> None:
    with sock, suppress(OSError):
        while data := sock.recv(65536):
            sock.sendall(data)


def connected(to: str, port: int) -> socket.socket:
    """Return a connection of the client's."""
    with inside("client"):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock.settimeout(LIMIT)
    sock.connect((to, port))
    return sock


class Session:
    """A connection from the client to *port* of the server, through the prefix."""

    def __init__(self, port: int, to: str = SERVER) -> None:
        self._sock = connected(to, port)

    def answers(self) -> bool:
        """Return whether the server sends back what it is sent."""
        self._sock.sendall(b"hello")
        got = b""
        while len(got) < 5 and (data := self._sock.recv(5)):
            got += data
        return got == b"hello"

    def end(self) -> bool:
        """Close it; return whether the server's end comes after it."""
        with self._sock:
            self._sock.shutdown(socket.SHUT_WR)
            return self._sock.recv(1) == b""


class ProxiedSession(Session):
    """The same by a proxy at *port* of the gateway, which is asked for *to* by SOCKS5."""

    def __init__(self, port: int, to: str, to_port: int) -> None:
        self._sock = connected(GATEWAY, port)
        self._ask(to, to_port)

    def _ask(self, to: str, port: int, user: str = "", password: str = "") -> None:
        self._sock.sendall(b"\5\1\2" if user else b"\5\1\0")
        assert self._read(2) == (b"\5\2" if user else b"\5\0")
        if user:
            self._sock.sendall(b"\1" + _counted(user) + _counted(password))
            assert self._read(2) == b"\1\0"
        self._sock.sendall(b"\5\1\0\3" + _counted(to) + struct.pack("!H", port))
        head = self._read(4)
        assert head[:2] == b"\5\0", head
        self._read({1: 6, 4: 18}[head[3]])

    def _read(self, size: int) -> bytes:
        got = b""
        while len(got) < size and (data := self._sock.recv(size - len(got))):
            got += data
        return got


class SecuredSession(ProxiedSession):
    """The same by a proxy with TLS, whose certificate is *signed*, and for a user."""

    def __init__(
        self, port: int, to: str, to_port: int, signed: Path, user: str, password: str
    ) -> None:
        context = ssl.create_default_context(cafile=signed)
        context.check_hostname = False
        self._secured = context.wrap_socket(connected(GATEWAY, port))
        self._sock = self._secured
        self._ask(to, to_port, user, password)

    def end(self) -> bool:
        """Close it; return whether the server's end, and TLS' own, come after it."""
        with self._secured.unwrap() as sock:
            return sock.recv(1) == b""


def _counted(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


class _Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = self.headers["Via"].encode()
        self.send_response(200)
        self.send_header("Content-Length", f"{len(text)}")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_page(port: int) -> None:
    """Serve HTTP on *port* of the server: every page is the Via of whoever asks."""
    with inside("server"):
        server = http.server.ThreadingHTTPServer((SERVER_V4, port), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def page(port: int, url: str) -> tuple[int, str]:
    """Return the status and the text of *url*, for which the proxy at *port* is asked by HTTP."""
    through = urllib.request.ProxyHandler({"http": f"http://[{GATEWAY}]:{port}"})
    with inside("client"):
        try:
            answer = urllib.request.build_opener(through).open(url, timeout=LIMIT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read().decode()


def relays(port: int, to: str = SERVER) -> bool:
    """Return whether a new connection reaches the server and ends well."""
    try:
        session = Session(port, to)
        return session.answers() and session.end()
    except OSError:
        return False


def refuses(port: int) -> bool:
    """Return whether a new connection is refused."""
    try:
        Session(port).end()
    except ConnectionError:
        return True
    return False


def looks_up(name: str) -> list[str]:
    """Return the addresses that the gateway's name server has for *name* (AAAA)."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    with inside("client"):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(1)
        query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + question + struct.pack("!2H", 28, 1)
        try:
            sock.sendto(query, (GATEWAY, 53))
            answer = sock.recv(4096)
        except OSError:
            return []
    at = len(query)
    found = []
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        assert answer[at] >= 0xC0, "a name that is not the question's"
        kind, _, _, size = struct.unpack_from("!HHIH", answer, at + 2)
        if kind == 28:
            found.append(socket.inet_ntop(socket.AF_INET6, answer[at + 12 : at + 12 + size]))
        at += 12 + size
    return found
