"""UDP sockets: receivers of steered datagrams, raw senders from any address, and
sockets of flows."""

from __future__ import annotations

import _socket
import ctypes
import struct
import sys
from contextlib import suppress
from typing import NamedTuple

from faith.kernel.process.capabilities import refusal
from faith.kernel.sockets.association_sockets import source_towards
from faith.kernel.sockets.icmp_sockets import CAPABILITIES as RAW
from faith.kernel.sockets.icmp_sockets import raw_socket
from faith.kernel.sockets.tcp_sockets import IP_TRANSPARENT, IPV6_TRANSPARENT
from faith.translation.address import V4, V6, number, text4

CAPABILITIES = ("CAP_NET_ADMIN", *RAW)

# linux/in.h, linux/in6.h, asm-generic/socket.h.
_IP_TOS, _IP_TTL, _IP_RECVTTL, _IP_RECVTOS, _IP_RECVORIGDSTADDR = 1, 2, 12, 13, 20
_IP_MTU_DISCOVER, _DONT_DISCOVER = 10, 0
_IPV6_MTU, _IPV6_RECVORIGDSTADDR, _IPV6_FREEBIND = 24, 74, 78
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_V4, _V6 = _socket.IPPROTO_IP, _socket.IPPROTO_IPV6

_INT = struct.Struct("=i")
_SOCKADDR_V4 = struct.Struct("!2xH4s")
_SOCKADDR_V6 = struct.Struct("!2xH4x16s")
_SHORT = 16
"""Octets of a struct sockaddr_in; a struct sockaddr_in6 has more."""
_HEADER = struct.Struct("!HHHH")
HEADER = _HEADER.size
_CHECKSUM_AT = 6

_ARRIVALS = {
    V4: ("127.0.0.1", _V4, (IP_TRANSPARENT, _IP_RECVORIGDSTADDR, _IP_RECVTTL, _IP_RECVTOS)),
    V6: (
        "::1",
        _V6,
        (
            _socket.IPV6_V6ONLY,
            IPV6_TRANSPARENT,
            _IPV6_RECVORIGDSTADDR,
            _socket.IPV6_RECVHOPLIMIT,
            _socket.IPV6_RECVTCLASS,
        ),
    ),
}
"""Of sockets that receive: the address to bind, and the options to set."""
_SENDERS = {
    V4: ((_V4, _IP_MTU_DISCOVER, _DONT_DISCOVER),),
    V6: ((_V6, _IPV6_FREEBIND, 1), (_V6, _socket.IPV6_CHECKSUM, _CHECKSUM_AT)),
}

_QUEUE = 1 << 20
_LARGEST = 1 << 16
_ROOM = 256
_FLOW_ROOM = _socket.CMSG_SPACE(1)
_TRIES = 4


class Arrival(NamedTuple):
    """A datagram with its addresses, hop limit and traffic class, parsed only when asked for.

    Within a flow the raw values stay the same, so callers can compare them unparsed.  *fields* are
    the hop limit, of 4 octets, and the traffic class behind it.
    """

    payload: bytes
    source: tuple[str, int] | tuple[str, int, int, int]
    original: bytes
    fields: bytes

    @property
    def sender(self) -> tuple[str, int]:
        """The source host, as text without a zone, and port."""
        return self.source[0].partition("%")[0], self.source[1]

    @property
    def scope(self) -> int:
        """The interface index of a link-local sender, else 0."""
        return self.source[3] if len(self.source) == 4 else 0

    @property
    def destination(self) -> bytes:
        """The destination address, packed."""
        return self._original()[1]

    @property
    def port(self) -> int:
        """The destination port."""
        return self._original()[0]

    @property
    def hops(self) -> int:
        """The hop limit or TTL left in the datagram."""
        (hops,) = _INT.unpack_from(self.fields)
        return int(hops)

    @property
    def traffic_class(self) -> int:
        """The octet of DSCP and ECN: IPv6's traffic class, IPv4's TOS."""
        return int.from_bytes(self.fields[_INT.size :], sys.byteorder)

    def _original(self) -> tuple[int, bytes]:
        form = _SOCKADDR_V6 if len(self.original) > _SHORT else _SOCKADDR_V4
        port, address = form.unpack_from(self.original)
        return port, address


# -- receivers -----------------------------------------------------------------------------------


def arrivals(family: int) -> _socket.socket:
    """Return a non-blocking socket for datagrams that will be steered to it.

    It is bound to the loopback address, on a port of the kernel's choice.  Raises SetupError.
    """
    loopback, level, options = _ARRIVALS[family]
    try:
        sock = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
        try:
            for option in options:
                sock.setsockopt(level, option, 1)
            _enlarge(sock)
            sock.bind((loopback, 0))
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise refusal("open a socket for UDP", error, *CAPABILITIES) from error
    return sock


def receive(sock: _socket.socket) -> Arrival:
    """Receive the next datagram.  Raises BlockingIOError when there is none, and OSError."""
    # The kernel's order, in both families.
    payload, ((_, _, hops), (_, _, octet), (_, _, to)), _, source = sock.recvmsg(_LARGEST, _ROOM)
    return Arrival(payload, source, to, hops + octet)


# -- senders -------------------------------------------------------------------------------------


def sender(family: int) -> _socket.socket:
    """Return a raw, non-blocking socket that sends UDP from any address and port.

    It never receives anything; `header` makes its datagrams' headers.  Raises SetupError.
    """
    sock = raw_socket(family, _socket.IPPROTO_UDP)
    _receive_nothing(sock)
    for option in _SENDERS[family]:
        sock.setsockopt(*option)
    return sock


def piece_sender() -> _socket.socket:
    """Return a raw, non-blocking socket that sends IPv6 fragments from any address.

    What it sends begins with a fragment header.  It never receives anything.  Raises SetupError.
    """
    sock = raw_socket(_socket.AF_INET6, _socket.IPPROTO_FRAGMENT)
    _receive_nothing(sock)
    sock.setsockopt(_V6, _IPV6_FREEBIND, 1)
    return sock


def header(source: int, destination: int, length: int, checksum: int = 0) -> bytes:
    """Return a UDP header for *length* octets of payload; the kernel fills in IPv6's checksum."""
    return _HEADER.pack(source, destination, _HEADER.size + length, checksum)


def _receive_nothing(sock: _socket.socket) -> None:
    """Make the kernel drop everything a raw socket would receive, by a filter of "ret 0"."""
    code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
    program = struct.pack("@HP", 1, ctypes.addressof(code))
    sock.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


# -- sockets of flows ----------------------------------------------------------------------------


def flow_socket(source: str | None, port: int) -> _socket.socket:
    """Return a non-blocking IPv4 socket bound to *source*, or to what the kernel chooses.

    With a *source* it gets *port* if that is free; else a port of the kernel's choice, with the
    parity of *port* if such a port is found soon (RFC 4787 REQ-4).  Raises OSError, EADDRNOTAVAIL
    where the host does not have *source*.
    """
    if source is not None:
        with suppress(OSError):  # taken, or reserved for privileged programs
            return _bound(source, port)
    sock = _bound(source, 0)
    for _ in range(_TRIES):
        if sock.getsockname()[1] % 2 == port % 2:
            break
        sock.close()
        sock = _bound(source, 0)
    return sock


def _bound(source: str | None, port: int) -> _socket.socket:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(_V4, _IP_MTU_DISCOVER, _DONT_DISCOVER)
        sock.setsockopt(_V4, _IP_RECVTOS, 1)
        sock.bind((source or "0.0.0.0", port))
    except OSError:
        sock.close()
        raise
    return sock


def receive_answer(sock: _socket.socket) -> tuple[bytes, tuple[str, int], int]:
    """Receive the next datagram of a flow's socket: payload, source, and TOS octet.

    Raises BlockingIOError when there is none, and OSError.
    """
    payload, ((_, _, octet),), _, source = sock.recvmsg(_LARGEST, _FLOW_ROOM)
    return payload, source, octet[0]


def own_address(to: int) -> int | None:
    """Return the kernel's source address for the IPv4 address *to*; None without a route."""
    source = source_towards(text4(to))
    return None if source is None else number(source)


def is_own(v4: int) -> bool:
    """Return whether an IPv4 address is in the host's local table: packets may come from it."""
    return own_address(v4) == v4


def set_fields(sock: _socket.socket, hops: int, traffic_class: int) -> None:
    """Set the TTL and the TOS octet of a flow's datagrams from now on."""
    sock.setsockopt(_V4, _IP_TTL, hops)
    sock.setsockopt(_V4, _IP_TOS, traffic_class)


def _enlarge(sock: _socket.socket) -> None:
    """Give a socket a longer queue than the default, for bursts while the process is busy."""
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
    except PermissionError:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _QUEUE)
