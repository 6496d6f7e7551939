"""Routes, addresses and interfaces from the kernel's rtnetlink (``linux/rtnetlink.h``).

Reading needs no privilege.  Addresses are integers of the family's width.
"""

from __future__ import annotations

import errno
import struct

from faith.kernel.netlink.netlink import Netlink, attribute, attributes
from faith.translation.address import from_packed, text6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

AF_INET = 2
AF_INET6 = 10
LOOPBACK = 1  # the index of lo in every network namespace

RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

TABLE_MAIN = 254
TABLE_LOCAL = 255
SCOPE_UNIVERSE, SCOPE_HOST = 0, 254
UNICAST = 1
LOCAL = 2
BROADCAST = 3
ANYCAST = 4
MULTICAST = 5

# family, destination length, source length, tos, table, protocol, scope, type, flags
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTM_F_CLONED = 0x200
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_MULTIPATH = 9
_RTA_TABLE = 15
_RTA_VIA = 18
# The header of a route, and its table, destination and priority, each with length and kind.
_LOCAL = struct.Struct("=BBxxBBxB4x HHI HH4s HHI")
_LOCAL_KINDS = (8, _RTA_TABLE, 8, _RTA_DST, 8, _RTA_PRIORITY)

_IFADDRMSG = struct.Struct("=BBBBI")  # family, length, flags, scope, interface
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NOPREFIXROUTE = 0x200

_IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, interface, flags, change
_ETHERNET, _LOOPBACK = 1, 772  # linux/if_arp.h: both have the header of Ethernet
# PPP, IP in IP, SIT, bare IP; and none, as WireGuard and tun have it
_WITHOUT_HEADER = (512, 768, 769, 776, 519, 0xFFFE)
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_IFF_WITHOUT_NEIGHBOURS = 0x8 | 0x10 | 0x80  # loopback, point-to-point, no ARP


class Route:
    """One entry of a routing table; *direct* means that there is no gateway in between."""

    __slots__ = (
        "direct",
        "interface",
        "kind",
        "length",
        "metric",
        "network",
        "protocol",
        "table",
    )

    def __init__(self, body: bytes) -> None:
        _, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(body)
        self.length: int = length
        self.protocol: int = protocol
        self.kind: int = kind
        attrs = dict(attributes(body[_RTMSG.size :]))
        self.network = from_packed(attrs.get(_RTA_DST, b""))
        self.table = _native(attrs, _RTA_TABLE, table)
        self.metric = _native(attrs, _RTA_PRIORITY)
        self.interface = _native(attrs, _RTA_OIF)
        self.direct = not attrs.keys() & {_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA}


class Address:
    """An IPv6 address of an interface, and the *network* and *length* of its subnet.

    *length* is 128 when the address brings no subnet along (``noprefixroute``).
    """

    __slots__ = ("address", "interface", "length", "network", "scope")

    def __init__(self, body: bytes) -> None:
        _, length, flags, scope, interface = _IFADDRMSG.unpack_from(body)
        self.scope: int = scope
        self.interface: int = interface
        attrs = dict(attributes(body[_IFADDRMSG.size :]))
        # equals the address itself, except on a point-to-point link
        far_end = attrs.get(_IFA_ADDRESS, b"")
        self.address = from_packed(attrs.get(_IFA_LOCAL, far_end))
        alone = _native(attrs, _IFA_FLAGS, flags) & _IFA_F_NOPREFIXROUTE
        self.length: int = 128 if alone else length
        shift = 128 - self.length
        self.network = from_packed(far_end) >> shift << shift


class Link:
    """An interface and its link *address*, in octets.

    It is *up* if an operator wants so, and *runs* if packets pass too: it has a carrier.
    *neighbours* says that hosts on its link are found by ARP or NDP; *header* is the number of
    octets before the IP header of a packet: 14 with Ethernet's, 0 where there is none, None where
    it is another one.
    """

    __slots__ = ("address", "header", "index", "name", "neighbours", "runs", "up")

    def __init__(self, body: bytes) -> None:
        _, hardware, index, flags, _ = _IFINFOMSG.unpack_from(body)
        self.index: int = index
        self.header: int | None = None
        if hardware in (_ETHERNET, _LOOPBACK):
            self.header = 14
        elif hardware in _WITHOUT_HEADER:
            self.header = 0
        attrs = dict(attributes(body[_IFINFOMSG.size :]))
        self.name = attrs[_IFLA_IFNAME].rstrip(bytes(1)).decode(errors="replace")
        self.address = attrs.get(_IFLA_ADDRESS, b"")
        self.neighbours = not flags & _IFF_WITHOUT_NEIGHBOURS
        self.up = bool(flags & _IFF_UP)
        self.runs = self.up and bool(flags & _IFF_RUNNING)


def routes(
    netlink: Netlink, family: int, table: int, protocol: int = 0, *, but: tuple[int, ...] = ()
) -> Iterator[Route]:
    """Return the routes of one *table* (below 256), and of one *protocol* unless it is 0.

    Routes of the protocols *but* are left out before they are parsed, which is cheaper.  The
    kernel's cached exceptions, of path MTUs and redirects, are left out as well.
    """
    for body in _dumped(netlink, family, table, protocol):
        got, _, _, _, _, by, _, _, flags = _RTMSG.unpack_from(body)
        if by in but:
            continue
        route = Route(body)
        # Linux before 4.20 does not filter, and a kernel without IPv6 returns other families.
        if got != family or route.table != table or flags & _RTM_F_CLONED:
            continue
        if protocol in (0, route.protocol):
            yield route


def local_routes(netlink: Netlink, family: int, *, but: tuple[int, ...] = ()) -> Iterator[Route]:
    """Return the routes of type local of every table, except those of the protocols *but*."""
    for body in _dumped(netlink, family, 0, 0, LOCAL):
        got, _, _, _, _, by, _, kind, flags = _RTMSG.unpack_from(body)
        if (got, kind) == (family, LOCAL) and by not in but and not flags & _RTM_F_CLONED:
            yield Route(body)


def _dumped(netlink: Netlink, family: int, table: int, protocol: int, kind: int = 0) -> list[bytes]:
    try:
        wanted = _RTMSG.pack(family, 0, 0, 0, table, protocol, 0, kind, 0)
        return netlink.dump(RTM_GETROUTE, wanted)
    except OSError as error:
        if error.errno != errno.ENOENT:  # a table that never had a route
            raise
        return []


def local_ipv4(netlink: Netlink, protocol: int) -> Iterator[tuple[int, int, int]]:
    """Return the ``(network, length, metric)`` of each local route of *protocol*.

    There may be very many: a route in the kernel's usual attribute order is unpacked in one call.
    """
    usual = AF_INET, TABLE_LOCAL, protocol, LOCAL, *_LOCAL_KINDS
    for body in _dumped(netlink, AF_INET, TABLE_LOCAL, protocol):
        if len(body) >= _LOCAL.size:
            got, length, table, by, kind, *attrs = _LOCAL.unpack_from(body)
            (l1, k1, _, l2, k2, network, l3, k3, metric) = attrs
            if (got, table, by, kind, l1, k1, l2, k2, l3, k3) == usual:
                yield from_packed(network), length, metric
                continue
        route = Route(body)
        if (body[0], route.table, route.protocol, route.kind) == usual[:4]:
            yield route.network, route.length, route.metric


def route_to(netlink: Netlink, family: int, address: int) -> Route:
    """Return the route of a packet from this host to *address*.

    Raises OSError when there is none.
    """
    octets = 4 if family == AF_INET else 16
    body = _RTMSG.pack(family, octets * 8, 0, 0, 0, 0, 0, 0, 0)
    body += attribute(_RTA_DST, address.to_bytes(octets, "big"))
    return Route(netlink.request(RTM_GETROUTE, body)[0])


def local_route(network: bytes, length: int, protocol: int, metric: int) -> bytes:
    """Return the body of RTM_NEWROUTE or RTM_DELROUTE for a ``local … dev lo table local``.

    The family follows from the width of *network*, 4 or 16 octets.
    """
    family, scope = (AF_INET, SCOPE_HOST) if len(network) == 4 else (AF_INET6, SCOPE_UNIVERSE)
    return (
        _RTMSG.pack(family, length, 0, 0, TABLE_LOCAL, protocol, scope, LOCAL, 0)
        + attribute(_RTA_DST, network)
        + attribute(_RTA_OIF, struct.pack("=I", LOOPBACK))
        + attribute(_RTA_PRIORITY, struct.pack("=I", metric))
    )


def addresses(netlink: Netlink) -> list[Address]:
    """Return the IPv6 addresses of all interfaces."""
    found = netlink.dump(RTM_GETADDR, _IFADDRMSG.pack(AF_INET6, 0, 0, 0, 0))
    return [Address(body) for body in found if body[0] == AF_INET6]


def with_ipv4(netlink: Netlink) -> set[int]:
    """Return the indices of the interfaces that hold an IPv4 address, also while they are down."""
    found = netlink.dump(RTM_GETADDR, _IFADDRMSG.pack(AF_INET, 0, 0, 0, 0))
    return {_IFADDRMSG.unpack_from(body)[4] for body in found if body[0] == AF_INET}


def links(netlink: Netlink) -> dict[int, Link]:
    """Return all interfaces by index."""
    found = map(Link, netlink.dump(RTM_GETLINK, bytes(_IFINFOMSG.size)))
    return {link.index: link for link in found}


def is_local(kind: int, body: bytes) -> bool:
    """Return whether a notification is about an address, a local route, or one of the local
    table."""
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        route = Route(body)
        return route.kind == LOCAL or route.table == TABLE_LOCAL
    return kind in (RTM_NEWADDR, RTM_DELADDR)


def text(network: int, length: int) -> str:
    """Return an IPv6 network as text, also ``/128``."""
    return f"{text6(network)}/{length}"


def _native(attrs: dict[int, bytes], kind: int, default: int = 0) -> int:
    """Return the 32-bit number of an attribute, in the host's byte order."""
    return int(struct.unpack("=I", attrs[kind])[0]) if kind in attrs else default
