"""Sockets to be asked on."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from faith.dns.endpoint import PORT, Endpoint
from faith.errors import PermissionNeeded, SetupError
from faith.kernel.netlink import interfaces
from faith.kernel.sockets.holder import holder
from faith.kernel.sockets.reuseport import share_by_name
from faith.kernel.sockets.tcp_sockets import may_be_absent

RECEIVE_BUFFER = 1 << 20
"""Octets of queries that may wait; the kernel caps it at net.core.rmem_max."""
BACKLOG = 256


def sockets(endpoint: Endpoint, *, shared: bool = False, workers: int = 1) -> list[socket.socket]:
    """A UDP socket and a listening TCP socket on *endpoint*, both non-blocking.

    They join others of the same user if they are to be *shared*, as further ones can them in any
    case; of several *workers* each gets queries for some of the names.  Raises SetupError.
    """
    with ExitStack() as undo:
        found = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            try:
                sock = undo.enter_context(_socket(endpoint, kind))
                _bind(sock, endpoint, shared=shared)
            except OSError as error:
                raise _refused(endpoint, kind, error) from error
            found.append(sock)
        if workers > 1:
            share_by_name(found[0], workers)
        undo.pop_all()
        return found


def _socket(endpoint: Endpoint, kind: int) -> socket.socket:
    family = socket.AF_INET6 if endpoint.version == 6 else socket.AF_INET
    return socket.socket(family, kind | socket.SOCK_NONBLOCK)


def _bind(sock: socket.socket, endpoint: Endpoint, *, shared: bool) -> None:
    if endpoint.version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    may_be_absent(sock)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    where = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=sock.type, flags=socket.AI_NUMERICHOST
    )
    sock.bind(where[0][4])
    if not shared:  # not before: what others have must not be joined by mistake
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.type == socket.SOCK_STREAM:
        sock.listen(BACKLOG)


def _refused(endpoint: Endpoint, kind: int, error: OSError) -> SetupError:
    step = f"listen on {endpoint}"
    if error.errno == errno.EACCES and endpoint.port < 1024:
        return PermissionNeeded(step, "CAP_NET_BIND_SERVICE")
    if error.errno == errno.EADDRINUSE:
        who = holder(endpoint.port, endpoint.host, kind)
        return SetupError(
            step,
            f"the port is taken by {who or 'another socket'}",
            "stop that, or listen on other addresses",
        )
    return SetupError(step, error.strerror or str(error))


def own_endpoints(port: int = PORT) -> set[Endpoint]:
    """Every address of this host.

    Each gets sockets of its own, so that replies come from the address that was asked; and so
    that nothing is taken that belongs to a prefix, or to another resolver on an address of its own.
    """
    found = set()
    for own in interfaces.addresses():
        zone = f"%{socket.if_indextoname(own.interface)}" if own.is_link_local else ""
        found.add(Endpoint(f"{own.address}{zone}", port))
    return found
