"""Echo requests that must not be fragmented, to find out whether large packets get through.

Needs CAP_NET_RAW.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import NamedTuple

from faith.cli.explain.facts import PathProbe
from faith.datagram.checksum import checksum
from faith.translation.address import V4, V6, family_of

SHORT = 84
"""Octets of a packet that every way has room for."""
PATIENCE = 1.0
"""Seconds for an answer to a probe."""
TRIES = 3

_MTU_DISCOVER = {V4: (socket.IPPROTO_IP, 10), V6: (41, 23)}
_PROBE = 3  # IP_PMTUDISC_PROBE: DF is set, and what the kernel knows of the path is not asked
_TRANSPARENT = {V4: (socket.IPPROTO_IP, 19), V6: (41, 75)}
_REQUEST = {V4: 8, V6: 128}
_REPLY = {V4: 0, V6: 129}
_HEADERS = {V4: 20, V6: 40}
_ICMP = 8
_UNREACHABLE, _TOO_BIG_CODE = 3, 4
_UNREACHABLE6, _TOO_BIG6 = 1, 2


class Echo(NamedTuple):
    """The outcome of a request: a reply, or an error from *by*; *mtu* is what it named."""

    replied: bool = False
    unreachable: bool = False
    mtu: int = 0
    by: str = ""


def ask(server: str, source: str | None, octets: int, patience: float = PATIENCE) -> Echo:
    """Send an echo request of *octets* in all, with DF.  Raises OSError."""
    family = family_of(server)
    protocol = socket.IPPROTO_ICMPV6 if family == V6 else socket.IPPROTO_ICMP
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.setsockopt(*_MTU_DISCOVER[family], _PROBE)
        if source:
            sock.setsockopt(*_TRANSPARENT[family], 1)
            sock.bind((source, 0))
        identifier = int.from_bytes(os.urandom(2), "big")
        sock.sendto(_request(family, identifier, octets), (server, 0))
        return _answer(sock, family, identifier, server, patience)


def _request(family: int, identifier: int, octets: int) -> bytes:
    data = bytes(octets - _HEADERS[family] - _ICMP)
    head = struct.pack("!BBHHH", _REQUEST[family], 0, 0, identifier, 1)
    if family == V6:  # the kernel computes that checksum
        return head + data
    total = checksum(head + data)
    return struct.pack("!BBHHH", _REQUEST[family], 0, total, identifier, 1) + data


def _answer(
    sock: socket.socket, family: int, identifier: int, server: str, patience: float
) -> Echo:
    deadline = time.monotonic() + patience
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
        packet, sender = sock.recvfrom(65535)
        octets = packet[(packet[0] & 15) * 4 :] if family == V4 else packet
        found = _parsed(family, octets, identifier, sender[0], server)
        if found:
            return found
    return Echo()


def _parsed(family: int, octets: bytes, identifier: int, sender: str, server: str) -> Echo | None:
    if len(octets) < _ICMP:
        return None
    kind, code, _, named, _ = struct.unpack_from("!BBHHH", octets)
    if kind == _REPLY[family] and named == identifier and sender == server:
        return Echo(replied=True)
    about = octets[_ICMP:]
    at = (about[0] & 15) * 4 if about and family == V4 else _HEADERS[family]
    if len(about) < at + 6 or struct.unpack_from("!H", about, at + 4)[0] != identifier:
        return None
    if family == V6 and kind == _TOO_BIG6:
        return Echo(mtu=struct.unpack_from("!I", octets, 4)[0], by=sender)
    if family == V4 and (kind, code) == (_UNREACHABLE, _TOO_BIG_CODE):
        return Echo(mtu=struct.unpack_from("!H", octets, 6)[0], by=sender)
    if kind == (_UNREACHABLE if family == V4 else _UNREACHABLE6):
        return Echo(unreachable=True, by=sender)
    return None


def probe(server: str, source: str | None, mtu: int) -> PathProbe:
    """Return whether packets of *mtu* octets get to *server* and back; short ones are compared."""
    try:
        if not any(ask(server, source, SHORT).replied for _ in range(2)):
            return PathProbe(mtu, small=False)
        for _ in range(TRIES):
            found = ask(server, source, mtu)
            if found.replied:
                return PathProbe(mtu, small=True, large=True)
            if found.mtu:
                return PathProbe(mtu, small=True, large=False, reported=found.mtu)
        again = ask(server, source, SHORT).replied  # else it has stopped answering at all
    except PermissionError:
        return PathProbe(mtu, error="it needs CAP_NET_RAW, and no filter that forbids it")
    except OSError as error:
        return PathProbe(mtu, error=error.strerror or str(error))
    return PathProbe(mtu, small=True if again else None, large=False)
