"""A client of SOCKS5 that sends datagrams by the proxy of a `ProxyBench`, and servers of UDP."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from faith.proxy import socks_datagram
from faith.relay.tcp.relay_counters import (
    ASSOCIATIONS,
    DATAGRAM_BYTES,
    DATAGRAM_ERRORS,
    DATAGRAM_LOST,
    DATAGRAM_REFUSALS,
    DATAGRAMS,
    LAYOUT,
)

if TYPE_CHECKING:
    from faith.kernel.shared.families import Family
    from tests.proxy_bench import Client, ProxyBench

GREETING = b"\5\1\0"
ANYWHERE = b"\1\0\0\0\0\0\0"


class UdpEnd:
    """A socket of UDP, of a client or a server, that waits while the loop runs."""

    def __init__(self, bench: ProxyBench, host: str = "127.0.0.1") -> None:
        self.bench = bench
        self.sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        bench.keep(self.sock)
        self.sock.bind((host, 0))
        self.at: tuple[str, int] = self.sock.getsockname()[:2]

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        """Return the next datagram, and where it came from."""
        found: list[tuple[bytes, Any]] = []

        def done() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.sock.recvfrom(70000))
            return bool(found)

        self.bench.until(done)
        data, source = found[0]
        return data, source[:2]

    def has_none(self) -> bool:
        self.bench.turn()
        try:
            self.sock.recv(70000)
        except BlockingIOError:
            return True
        return False

    def echo(self) -> tuple[str, int]:
        """Send the next datagram back; return where it came from."""
        data, source = self.receive()
        self.sock.sendto(data, source)
        return source


class Associated(UdpEnd):
    """A client with an association: *control* is its connection, and *proxy* where it sends to."""

    def __init__(
        self, bench: ProxyBench, announced: bytes = ANYWHERE, *, late: bool = True
    ) -> None:
        super().__init__(bench)
        port = struct.pack("!H", self.at[1])
        asked = announced if late else b"\1\x7f\0\0\1" + port
        self.control: Client = bench.client(GREETING + b"\5\3\0" + asked)
        assert self.control.hear(2) == b"\5\0"
        reply = self.control.hear(10)
        assert reply[:4] == b"\5\0\0\1", reply
        self.proxy = socket.inet_ntoa(reply[4:8]), int.from_bytes(reply[8:], "big")

    def say(self, data: bytes, host: str, port: int) -> None:
        """Send *data* to *port* of *host*, an address or a name."""
        self.sock.sendto(to(host, port) + data, self.proxy)

    def hear(self) -> tuple[bytes, tuple[str, int]]:
        """Return the next answer, and where it came from as the proxy says."""
        octets, source = self.receive()
        assert source == self.proxy
        end = socks_datagram.header_end(octets)
        target = socks_datagram.target(octets[:end])
        return octets[end:], (target.host, target.port)


def to(host: str, port: int) -> bytes:
    """Return the header of a datagram for *port* of *host*."""
    with contextlib.suppress(OSError):
        return socks_datagram.header(host, port)
    return b"\0\0\0\3" + bytes((len(host),)) + host.encode() + struct.pack("!H", port)


class Numbers:
    """What the bench's counters say of associations."""

    def __init__(self, bench: ProxyBench) -> None:
        self._cells = bench.cells

    def _one(self, family: Family) -> int:
        return self._cells[LAYOUT.start(family)]

    @property
    def open(self) -> int:
        return self._one(ASSOCIATIONS)

    @property
    def lost(self) -> int:
        return self._one(DATAGRAM_LOST)

    @property
    def errors(self) -> int:
        return self._one(DATAGRAM_ERRORS)

    def refused(self, why: str) -> int:
        return self._cells[LAYOUT.cells(DATAGRAM_REFUSALS)[why]]

    @property
    def all_refused(self) -> int:
        return sum(LAYOUT.of(DATAGRAM_REFUSALS, self._cells))

    @property
    def sent(self) -> tuple[int, int, int, int]:
        """Datagrams and octets to servers, and to clients."""
        up, down = LAYOUT.of(DATAGRAMS, self._cells)
        up_octets, down_octets = LAYOUT.of(DATAGRAM_BYTES, self._cells)
        return up, up_octets, down, down_octets


def limit(bench: ProxyBench, **changes: Any) -> None:
    """Change the settings of UDP flows."""
    datagrams = replace(bench.settings.datagrams, **changes)
    bench.relay.settings = bench.settings = replace(bench.settings, datagrams=datagrams)
