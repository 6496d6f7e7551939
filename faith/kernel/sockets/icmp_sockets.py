"""Raw sockets for ICMP and ICMPv6, which may send from any address of the host."""

from __future__ import annotations

import _socket
import struct
from typing import TYPE_CHECKING

from faith.kernel.process.capabilities import refusal
from faith.kernel.sockets.tcp_sockets import IPV6_FREEBIND

if TYPE_CHECKING:
    from collections.abc import Iterable

CAPABILITIES = ("CAP_NET_RAW",)

# linux/icmp.h, linux/icmpv6.h, linux/in.h.
_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMPV6_FILTER = 1
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0

_QUEUE = 1 << 20


def icmp_socket(kinds: Iterable[int]) -> _socket.socket:
    """Return a raw, non-blocking socket that receives the host's ICMP messages of *kinds*.

    Messages arrive with their IP header.  Packets it sends may be fragmented.  Raises SetupError.
    """
    sock = _raw(_socket.AF_INET, _socket.IPPROTO_ICMP)
    blocked = 0xFFFFFFFF & ~sum(1 << kind for kind in kinds)
    sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", blocked))
    sock.setsockopt(_socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
    return sock


def icmpv6_socket(kinds: Iterable[int]) -> _socket.socket:
    """Return a raw, non-blocking socket that receives the host's ICMPv6 messages of *kinds*.

    Each message comes with its destination address, hop limit and traffic class.  The socket may
    send from any address of a reserved prefix, and the kernel fills in the checksum.  Raises
    SetupError.
    """
    sock = _raw(_socket.AF_INET6, _socket.IPPROTO_ICMPV6)
    blocked = (1 << 256) - 1 & ~sum(1 << kind for kind in kinds)
    words = (blocked >> shift & 0xFFFFFFFF for shift in range(0, 256, 32))
    sock.setsockopt(_socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *words))
    sock.setsockopt(_socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    for option in (_socket.IPV6_RECVPKTINFO, _socket.IPV6_RECVHOPLIMIT, _socket.IPV6_RECVTCLASS):
        sock.setsockopt(_socket.IPPROTO_IPV6, option, 1)
    return sock


def adopt(fd: int) -> _socket.socket:
    """Adopt the socket that the predecessor process left open at *fd*."""
    return _socket.socket(fileno=fd)


def raw_socket(family: int, protocol: int) -> _socket.socket:
    """Return a raw, non-blocking socket.  Raises SetupError."""
    try:
        sock = _socket.socket(family, _socket.SOCK_RAW | _socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise refusal("open a raw socket", error, *CAPABILITIES) from error
    return sock


def _raw(family: int, protocol: int) -> _socket.socket:
    sock = raw_socket(family, protocol)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _QUEUE)
    return sock
