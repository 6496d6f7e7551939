"""UDP sockets of clients of SOCKS: towards the client, and towards the servers it sends to."""

from __future__ import annotations

import _socket
import struct

from faith.translation.address import ANY, V6, family_of

# linux/in.h, linux/in6.h, linux/errqueue.h
_RECEIVE_ERRORS = {
    _socket.AF_INET: (_socket.IPPROTO_IP, 11),  # IP_RECVERR
    _socket.AF_INET6: (_socket.IPPROTO_IPV6, 25),  # IPV6_RECVERR
}
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_ORIGINS = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_ROOM = _socket.CMSG_SPACE(_EXTENDED_ERROR.size + 28)
_MOST_ERRORS = 64

_QUEUE = 1 << 20
"""Octets of a queue for bursts; the kernel gives net.core.rmem_max at most."""


def socket_for_client(host: str, scope: int = 0) -> _socket.socket:
    """Return a non-blocking socket at *host*, an address in text; the kernel chooses the port.

    *scope* is the interface index of a link-local address.  Raises OSError.
    """
    family = family_of(host)
    return _bound(family, (host, 0, 0, scope) if family == V6 else (host, 0))


def socket_for_servers(family: int, source: str | None) -> _socket.socket:
    """Return a non-blocking socket at *source*, or None for all addresses of this host.

    ICMP errors about what it sends wait in its queue for `errors`.  Raises OSError, EADDRNOTAVAIL
    where the host does not have *source*.
    """
    sock = _bound(family, (source or ANY[family], 0))
    try:
        sock.setsockopt(*_RECEIVE_ERRORS[family], 1)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: int, address: tuple[str, int] | tuple[str, int, int, int]) -> _socket.socket:
    sock = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
    try:
        if family == V6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _QUEUE)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def errors(sock: _socket.socket) -> list[tuple[int, tuple[str, int]]]:
    """Return the ICMP errors that wait at a socket for servers: of each the errno, and to which
    host and port the datagram was sent.

    No later system call returns their errnos then.
    """
    found: list[tuple[int, tuple[str, int]]] = []
    for _ in range(_MOST_ERRORS):
        try:
            _, control, _, to = sock.recvmsg(0, _ROOM, _MSG_ERRQUEUE)
        except OSError:  # none is left
            break
        for level, kind, octets in control:
            if (level, kind) == _RECEIVE_ERRORS[sock.family]:
                number, origin, *_ = _EXTENDED_ERROR.unpack_from(octets)
                if origin in _ORIGINS and to:
                    found.append((number, (to[0], to[1])))
    return found


def source_towards(host: str) -> str | None:
    """Return the kernel's source address for *host*, an address in text; None without a route."""
    try:
        sock = _socket.socket(family_of(host), _socket.SOCK_DGRAM)
        try:
            # connect() of a UDP socket sends nothing
            sock.connect((host, 1))
            source: str = sock.getsockname()[0]
            return source
        finally:
            sock.close()
    except OSError:
        return None
