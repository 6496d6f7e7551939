"""Connections whose buffers are small, and one direction of a session over them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import at_mark, unacknowledged, unread

if TYPE_CHECKING:
    from faith.relay.tcp.session import Session
    from tests.test_plane import Bench

    Sides = tuple[socket.socket, socket.socket, Session]

BUFFER = 8192
DATA = random.Random(3142).randbytes(400_000)
BOTH_WAYS = pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])


def narrow_pair(segment: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection whose buffers are small, with the options of a listener.

    With segments of at most *segment* octets, a full buffer stays as it is; else a probe of the
    closed window, 0.2 s later, brings some octets more through.
    """
    with socket.socket() as listener:
        narrow(listener)
        if segment:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        narrow(near)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return near, far


def narrow(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


class Way:
    """One direction of a session: who writes, who reads, and the leg in between."""

    def __init__(self, bench: Bench, forth: bool, sides: Sides | None = None) -> None:
        client, server, self.session = sides or bench.session(narrow_pair)
        self.bench = bench
        self.source, self.sink = (client, server) if forth else (server, client)
        session = self.session
        self.leg = session.client if forth else session.server
        self.peer = self.leg.peer
        self.sent = 0
        self.got = bytearray()
        self.marks: list[int] = []
        bench.turn(0)

    def write(self, most: int = len(DATA)) -> int:
        """Write what there is room for, from where the last time ended."""
        before = self.sent
        with contextlib.suppress(BlockingIOError):
            while self.sent < most:
                self.sent += self.source.send(DATA[self.sent : min(most, self.sent + 20_000)])
        return self.sent - before

    def block(self) -> None:
        """Write until nothing moves any more."""
        quiet = 0
        while quiet < 3 or not self.is_blocked():
            moved = self.leg.moved
            quiet = 0 if self.write() or self.leg.moved != moved else quiet + 1
            self.bench.turn(0.005)

    def fill(self) -> int:
        """Leave no room for anything, behind the plane's back; how many zeros that took."""
        sent = 0
        while True:
            settled = not in_flight(self.peer.fd)  # no acknowledgement will make room again
            try:
                sent += self.peer.sock.send(bytes(1000))
            except BlockingIOError:
                if settled:
                    return sent
                self.bench.turn(0.001)

    def fill_pipe(self) -> None:
        """Do so, and have octets in a pipe, not in a buffer: the last read may have been short."""
        self.block()
        while not self.leg.piped:
            self.read(3000)
            self.block()

    def is_blocked(self) -> bool:
        return self.leg.held is not None or self.leg.piped > 0

    def read(self, size: int = 1 << 20) -> str:
        """Read once: "data", "nothing", "end" or "reset"; marks are noted."""
        at = len(self.got)
        try:
            is_mark = bool(unread(self.sink.fileno())) and at_mark(self.sink.fileno())
            data = self.sink.recv(1 if is_mark else size)
        except BlockingIOError:
            return "nothing"
        except ConnectionResetError:
            return "reset"
        if is_mark and data:  # else it is on its way still
            self.marks.append(at)
        self.got += data
        return "data" if data else "end"

    def receive(self, size: int) -> bytes:
        """Read *size* octets more."""
        start = len(self.got)
        self.bench.until(
            lambda: bool(self.read(start + size - len(self.got))) and self.has(start + size)
        )
        return bytes(self.got[start:])

    def has(self, size: int) -> bool:
        return len(self.got) >= size

    def drain(self) -> str:
        """Read to the end; what end."""
        how = ""

        def over() -> bool:
            nonlocal how
            how = self.read()
            return how in ("end", "reset")

        self.bench.until(over)
        return how

    def arrives(self) -> None:
        """All that was written arrives, in order."""
        self.receive(self.sent - len(self.got))
        assert self.got == DATA[: self.sent]
        assert self.leg.moved == self.sent


def unsent(fd: int) -> int:
    """How many octets the kernel has not sent yet (SIOCOUTQNSD)."""
    return int(struct.unpack("i", fcntl.ioctl(fd, 0x894B, bytes(4)))[0])


def in_flight(fd: int) -> int:
    """How many octets were sent and not acknowledged; with a full buffer, 0 leaves it full."""
    return unacknowledged(fd) - unsent(fd)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def segments(sock: socket.socket) -> int:
    """How many segments *sock* has received (tcpi_segs_in)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[140:144], "little" if struct.pack("=H", 1)[0] else "big")
