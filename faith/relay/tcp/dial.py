"""Connecting to the other side, without waiting for it."""

from __future__ import annotations

import _socket
import errno
import os

from faith.kernel.sockets.tcp_sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    IPV6_FREEBIND,
    NO_RESOURCES,
    bind_reserved,
    choose_port_in,
    set_traffic_class,
)
from faith.translation.address import ANY, V6, family_of
from faith.translation.reasons import NO_PORT, REFUSED, TIMEOUT, UNREACHABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.sockets.tcp_sockets import PortRange

AFTERWARDS = frozenset((errno.ECONNRESET, errno.EPIPE))
"""Failures of a socket that was connected before: one that is refused has ECONNREFUSED.

EPIPE says that a FIN came before the reset.
"""

_KINDS = {
    errno.ECONNREFUSED: REFUSED,
    errno.ETIMEDOUT: TIMEOUT,
    errno.EADDRNOTAVAIL: NO_PORT,
}


def connect(
    host: str,
    port: int,
    source: str | None = None,
    *,
    reserved_port: bool = False,
    ranges: Iterable[PortRange | None] | None = None,
    traffic_class: int = 0,
) -> tuple[_socket.socket, int]:
    """Begin a connection to *host*, an address as text; return the socket and connect(2)'s errno.

    That is EINPROGRESS (or 0) when it is under way.  *source* is the address to connect from, which
    may be a mapped one, or None for the kernel's choice.  *reserved_port* asks for a source port
    below 1024 (KAME's ``-p``).  *ranges* are ranges of source ports (None: the one that is set), of
    which the first with a free port is used; without any left the errno is EADDRNOTAVAIL.
    *traffic_class* is that of all packets, the first included.  Raises OSError when there is no
    descriptor, no memory or no such source address.
    """
    family = family_of(host)
    sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0)
    try:
        # Small messages leave at once, and an urgent byte keeps its place in the stream.  What is
        # accepted has these from its listener.
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)
        if family == V6:
            # A route brings the answers here; bind(2) would ask for an address of an interface.
            sock.setsockopt(_socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        if traffic_class:
            set_traffic_class(sock, traffic_class)
        if reserved_port:
            bind_reserved(sock, source or ANY[family])
        elif source:
            # The port is chosen by connect(2), for this server only: 64k to each, not in all.
            sock.setsockopt(_socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        if ranges is None:
            error = sock.connect_ex((host, port))
        else:
            error = _connect_in(sock, (host, port), ranges)
        if error in NO_RESOURCES:
            raise OSError(error, os.strerror(error))
        return sock, error
    except OSError:
        sock.close()
        raise


def _connect_in(
    sock: _socket.socket, to: tuple[str, int], ranges: Iterable[PortRange | None]
) -> int:
    for one in ranges:
        if one is not None:
            choose_port_in(sock, one)
        error = sock.connect_ex(to)
        if error != errno.EADDRNOTAVAIL:
            return error
    return errno.EADDRNOTAVAIL


def kind(error: int) -> str:
    """Return the reason, as records give it, for a dial that failed with *error* (an errno)."""
    return _KINDS.get(error, UNREACHABLE)
