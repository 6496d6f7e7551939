"""TCP sockets for the relay: listeners, original destinations, resets, source ports.

Sockets are ``_socket.socket``, the base class of ``socket.socket``: inetd mode must not import the
latter, the plane needs nothing of it (``_accept`` and ``fileno`` are in both), and functions that
take ``_socket.socket`` take both.  asyncio's servers need the subclass:
``socket.socket(fileno=sock.detach())``.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import struct
import sys

from faith.errors import PermissionNeeded, SetupError
from faith.translation.address import ANY, V6, family_of

# linux/in6.h, linux/in.h and linux/netfilter_ipv6/ip6_tables.h; not all in Python 3.11's socket.
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
IPV6_FREEBIND = 78
IP6T_SO_ORIGINAL_DST = 80
IP_BIND_ADDRESS_NO_PORT = 24
_IP_LOCAL_PORT_RANGE = 51
_SO_COOKIE = 57  # asm-generic/socket.h

TYPE_CHECKING = False
if TYPE_CHECKING:
    PortRange = tuple[int, int]
    """The first and the last of some ports."""

ALL_PORTS = 0, 0
"""The range of source ports of the network namespace, net.ipv4.ip_local_port_range."""

NO_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors for lack of descriptors or memory: temporary, and local to this host."""

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

QUIET = 15.0
"""Seconds that a reset waits for `unacknowledged` octets of which none moves.

A peer that reads 10 kB/s may acknowledge every 7 s only: when half its buffer is free.
"""
LONGEST = 120.0
"""Seconds that a reset waits although the peer still reads, a little at a time."""

_LISTENER_OPTIONS = (
    (_socket.SOL_SOCKET, _socket.SO_REUSEADDR),
    (_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY),
    # The rest is for the accepted sockets, which inherit it.
    (_socket.IPPROTO_TCP, _socket.TCP_NODELAY),
    (_socket.SOL_SOCKET, _socket.SO_KEEPALIVE),
    (_socket.SOL_SOCKET, _socket.SO_OOBINLINE),
)
_FREEBIND = {
    _socket.AF_INET: (_socket.IPPROTO_IP, 15),
    _socket.AF_INET6: (_socket.IPPROTO_IPV6, IPV6_FREEBIND),
}
_TRANSPARENT = {
    _socket.AF_INET: (_socket.IPPROTO_IP, IP_TRANSPARENT),
    _socket.AF_INET6: (_socket.IPPROTO_IPV6, IPV6_TRANSPARENT),
}
_CLASSES = {
    _socket.AF_INET: (_socket.IPPROTO_IP, 13, 9),  # IP_RECVTOS, IP_PKTOPTIONS
    _socket.AF_INET6: (_socket.IPPROTO_IPV6, _socket.IPV6_RECVTCLASS, 6),  # IPV6_2292PKTOPTIONS
}
_TRAFFIC_CLASS = {
    _socket.AF_INET: (_socket.IPPROTO_IP, _socket.IP_TOS),
    _socket.AF_INET6: (_socket.IPPROTO_IPV6, _socket.IPV6_TCLASS),
}
_CLASS_AT, _CLASS_END = _socket.CMSG_LEN(0), _socket.CMSG_LEN(4)
_DSCP = 0xFC
_SOCKADDR_IN6 = struct.Struct("!2xH4x16s4x")
_RESERVED = range(512, 1024)  # as rresvport(3) and KAME's -p have it
_ABORT = struct.pack("=ii", 1, 0)
_SIOCATMARK, _SIOCINQ, _SIOCOUTQ = 0x8905, 0x541B, 0x5411  # asm-generic/ioctls.h and sockios.h
_INT = b"\0\0\0\0"


def cookie(sock: _socket.socket) -> bytes:
    """Return what tells *sock* apart from every other, whatever its descriptor is here."""
    return sock.getsockopt(_socket.SOL_SOCKET, _SO_COOKIE, 8)


def listener(
    address: str,
    port: int,
    *,
    transparent: bool,
    reuseport: bool = False,
    backlog: int = BACKLOG,
    open_to_all: bool = False,
) -> _socket.socket:
    """Return a non-blocking, close-on-exec socket listening on *address* and *port* (0: any).

    It is an IPv4 socket for an IPv4 address, else an IPv6-only one.  *open_to_all* makes one on
    "::" a socket of both families, and lets the address be one that this host has not yet: see
    `may_be_absent`.

    Accepted sockets inherit TCP_NODELAY, SO_KEEPALIVE and SO_OOBINLINE.  *transparent* lets it
    accept for addresses that are not the host's, and past the guard; it needs CAP_NET_ADMIN.
    *reuseport* joins other sockets on the port, of the same user and with the same option; to share
    a port among several workers and nobody else, see `listeners`.

    Raises SetupError, which names the process that holds the port when it can be found.
    """
    try:
        sock = stream_socket(family_of(address), transparent=transparent, reuseport=reuseport)
        try:
            if open_to_all:
                may_be_absent(sock)
            if open_to_all and address == ANY[V6]:
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
            sock.bind((address, port))
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise _refused(f"listen on {where}", port, error) from error
    return sock


def may_be_absent(sock: _socket.socket) -> None:
    """Allow *sock* to be bound to an address that this host has not yet; it takes no capability.

    Addresses of VRRP, of PPPoE and of a host that boots come later; IPv6 ones are verified first
    (RFC 4862 §5.4).  What is bound before that serves as soon as they are there.
    """
    sock.setsockopt(*_FREEBIND[sock.family], 1)


def pause(sock: _socket.socket) -> None:
    """Have the listener *sock* refuse connections, those that wait to be accepted included.

    It does for all copies of its descriptor.  It keeps its port, unless the kernel chose it.  A
    no-op when *sock* is paused: shutdown(2) would do nothing but mark it as shut down, and all that
    it accepts later would inherit the mark, and be at its end from the beginning.
    """
    if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
        sock.shutdown(_socket.SHUT_RD)


def resume(sock: _socket.socket, name: tuple[str, int]) -> None:
    """Have *sock*, which was paused, listen again at its *name*, an address and port.

    Raises SetupError when another socket has taken the port.
    """
    try:
        try:
            sock.bind(name)
        except OSError as error:
            if error.errno != errno.EINVAL:  # it has kept its port
                raise
        sock.listen(BACKLOG)
    except OSError as error:
        where = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        raise _refused(f"listen on {where} again", name[1], error) from error


def stream_socket(
    family: int, *, transparent: bool = False, reuseport: bool = False
) -> _socket.socket:
    """Return an unbound TCP socket with the options of a `listener`.

    *transparent* needs CAP_NET_ADMIN; binding it afterwards needs nothing.  Raises OSError.
    """
    options = [
        (level, option)
        for level, option in _LISTENER_OPTIONS
        if level != _socket.IPPROTO_IPV6 or family == _socket.AF_INET6
    ]
    if reuseport:
        options.append((_socket.SOL_SOCKET, _socket.SO_REUSEPORT))
    if transparent:
        options.append(_TRANSPARENT[family])
    sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    try:
        for level, option in options:
            sock.setsockopt(level, option, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def fit(sock: _socket.socket) -> None:
    """Set the options of a `listener` on a listening socket made elsewhere.  Raises OSError."""
    for level, option in _LISTENER_OPTIONS[2:]:
        sock.setsockopt(level, option, 1)
    sock.setblocking(False)


def listeners(
    address: str,
    port: int,
    count: int,
    *,
    transparent: bool,
    joins: bool = False,
    open_to_all: bool = False,
) -> list[_socket.socket]:
    """Return *count* listeners among which the kernel spreads the connections to one port.

    The port must be free: SO_REUSEPORT alone would join any server of the same user that also set
    it (nginx with ``reuseport``, a second faithd) and get a share of its connections.  So the first
    listener binds without it, and only then admits the others; if it *joins* others of this
    process, it binds with it.  *open_to_all* is as for `listener`.  Raises SetupError.
    """
    how = {"transparent": transparent, "open_to_all": open_to_all}
    group = [listener(address, port, reuseport=joins, **how)]
    try:
        if count > 1:
            group[0].setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
            port = group[0].getsockname()[1]
        while len(group) < count:
            group.append(listener(address, port, reuseport=True, **how))
    except BaseException:
        for sock in group:
            sock.close()
        raise
    return group


def _refused(step: str, port: int, error: OSError) -> SetupError:
    if error.errno == errno.EPERM:
        return PermissionNeeded(step, "CAP_NET_ADMIN")
    if error.errno == errno.EACCES and port < 1024:
        return PermissionNeeded(step, "CAP_NET_BIND_SERVICE")
    if error.errno == errno.EADDRINUSE:
        from faith.kernel.sockets.holder import holder

        return SetupError(step, f"the port is taken by {holder(port) or 'another socket'}")
    return SetupError(step, error.strerror or str(error))


def original_destination(sock: _socket.socket) -> tuple[bytes, int]:
    """Return the destination of a redirected connection: its address in 16 octets, and the port.

    Without redirection it is the socket's own address.  Raises OSError (ENOENT) when connection
    tracking does not know the connection.
    """
    answer = sock.getsockopt(_socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
    port, address = _SOCKADDR_IN6.unpack(answer)
    return address, port


def dscp_of(sock: _socket.socket) -> int:
    """Return the traffic class, without ECN, with which the peer of an accepted *sock* connected.

    It is 0 for an IPv4 socket that has connected itself: the kernel keeps no TOS then.  It is 0 for
    a UNIX socket, too.
    """
    if sock.family not in _CLASSES:
        return 0
    level, receive, options = _CLASSES[sock.family]
    sock.setsockopt(level, receive, 1)
    found = sock.getsockopt(level, options, _socket.CMSG_SPACE(4))
    sock.setsockopt(level, receive, 0)  # else the kernel keeps a copy of every IPv6 segment
    return int.from_bytes(found[_CLASS_AT:_CLASS_END], sys.byteorder) & _DSCP


def set_traffic_class(sock: _socket.socket, traffic_class: int) -> None:
    """Send with *traffic_class* from now on; ECN stays what the kernel has negotiated."""
    sock.setsockopt(*_TRAFFIC_CLASS[sock.family], traffic_class)


def reset(sock: _socket.socket) -> None:
    """Close *sock* with a RST instead of a FIN; unsent data is discarded."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
    sock.close()


def unread(fd: int) -> int:
    """Return how many octets the TCP socket *fd* has received and nobody has read (SIOCINQ).

    A FIN is none of them.
    """
    return int.from_bytes(fcntl.ioctl(fd, _SIOCINQ, _INT), sys.byteorder)


def unacknowledged(fd: int) -> int:
    """Return how many octets sent on the TCP socket *fd* its peer has yet to acknowledge.

    A FIN that is under way is one of them (SIOCOUTQ).
    """
    return int.from_bytes(fcntl.ioctl(fd, _SIOCOUTQ, _INT), sys.byteorder)


def at_mark(fd: int) -> bool:
    """Return whether the next octet of the TCP socket *fd* is urgent; it may have yet to arrive.

    A UNIX socket has none, even where the kernel does not know the question.
    """
    try:
        return fcntl.ioctl(fd, _SIOCATMARK, _INT) != _INT
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise
        return False


def choose_port_in(sock: _socket.socket, ports: PortRange) -> None:
    """Have connect(2) choose *sock*'s source port among those of `ALL_PORTS` that are in *ports*.

    Raises OSError (ENOPROTOOPT) before Linux 6.3; see `has_port_ranges`.
    """
    first, last = ports
    sock.setsockopt(_socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("=I", last << 16 | first))


def has_port_ranges() -> bool:
    """Return whether the kernel knows `choose_port_in`."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        choose_port_in(sock, ALL_PORTS)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def bind_reserved(sock: _socket.socket, address: str) -> int:
    """Bind *sock* to *address* and a free port from 512 to 1023, which is returned.

    The servers of rlogin and rsh take such a source port as a sign of a privileged client.  The
    search goes downwards from a random port, so that it does not start with ports in TIME_WAIT
    every time. Raises OSError: EADDRINUSE when no port is left, EACCES without
    CAP_NET_BIND_SERVICE.
    """
    start = int.from_bytes(os.urandom(2), "big")
    for step in range(len(_RESERVED)):
        port = _RESERVED[(start - step) % len(_RESERVED)]
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    raise OSError(errno.EADDRINUSE, "all ports from 512 to 1023 are in use")
