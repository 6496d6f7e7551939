"""Three hosts in a booted machine: it is the gateway, a client and a server are namespaces.

Only the standard library and ip(8) are at hand there.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "2001:db8:ffff::/96"
SERVER = "2001:db8:ffff::192.0.2.80"
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


class Session:
    """A connection from the client to *port* of the server, through the prefix."""

    def __init__(self, port: int, to: str = SERVER) -> None:
        with inside("client"):
            self._sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._sock.settimeout(LIMIT)
        self._sock.connect((to, port))

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
