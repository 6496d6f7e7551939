"""What UDP is relayed by in tests: sockets that keep what they send, and datagrams to relay."""

from __future__ import annotations

import _socket
import itertools
import struct
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from faith.datagram.packet import UDP, Packet
from faith.datagram.udp.message import datagram
from faith.kernel.sockets.udp_sockets import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterable

Endpoint = tuple[str, int]


def number(text: str) -> int:
    """The address as a number."""
    return int(ip_address(text))


class Wire:
    """A socket in name only, that has *port*; *fails* is raised instead of sending."""

    _descriptors = itertools.count(1000)

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.sent: list[tuple[bytes, Any, Any]] = []
        self.fails: OSError | None = None
        self.closed = False
        self.options: dict[int, int] = {}
        self._descriptor = next(self._descriptors)

    def sendto(self, payload: bytes, to: Endpoint) -> None:
        self.sendmsg([payload], [], 0, to)

    def sendmsg(self, parts: Iterable[bytes], control: Any, flags: int, to: Any) -> None:
        if self.fails:
            raise self.fails
        self.sent.append((b"".join(parts), control, to))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[option] = value

    def getsockname(self) -> Endpoint:
        return "0.0.0.0", self.port

    def fileno(self) -> int:
        return self._descriptor

    def detach(self) -> int:
        self.closed = True
        return self._descriptor

    def close(self) -> None:
        self.closed = True


def arrival(
    source: Endpoint,
    to: Endpoint,
    payload: bytes = b"hello",
    hops: int = 64,
    scope: int = 0,
    traffic_class: int = 0,
) -> Arrival:
    """A datagram as the kernel tells of it."""
    packed, port = ip_address(to[0]).packed, to[1].to_bytes(2, "big")
    if len(packed) == 4:
        original = struct.pack("=H", _socket.AF_INET) + port + packed + bytes(8)
        return Arrival(payload, source, original, struct.pack("=iB", hops, traffic_class))
    original = struct.pack("=H", _socket.AF_INET6) + port + bytes(4) + packed + bytes(4)
    return Arrival(payload, (*source, 0, scope), original, struct.pack("=ii", hops, traffic_class))


def by_v6(wire: Wire, hops: int = 3) -> Packet:
    """The packet that the kernel makes of what *wire*, raw and of IPv6, has sent last."""
    octets, control, to = wire.sent[-1]
    source = str(IPv6Address(control[0][2][:16]))
    ports = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[2:4], "big")
    return packet((source, ports[0]), (to[0], ports[1]), octets[8:], hops)


def packet(source: Endpoint, to: Endpoint, payload: bytes = b"hello", hops: int = 3) -> Packet:
    """The packet of a datagram."""
    addresses = number(source[0]), number(to[0])
    octets = b"".join(datagram((addresses[0], source[1]), (addresses[1], to[1]), payload))
    return Packet(*addresses, hops, 0, UDP, len(octets), octets)
