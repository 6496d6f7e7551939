"""Questions to the kernel about single packets: which route, link and neighbour they have.

Reading needs no privilege.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import NamedTuple

from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink, attribute, attributes
from faith.kernel.netlink.rtnetlink import AF_INET, AF_INET6, LOCAL, RTM_GETLINK, RTM_GETROUTE
from faith.translation.address import packed, text

# linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 2, 3, 4, 5
_RTA_PREFSRC, _RTA_METRICS, _RTA_TABLE = 7, 8, 15
_RTA_UID, _RTA_IP_PROTO, _RTA_SPORT, _RTA_DPORT = 25, 27, 28, 29
_RTAX_MTU = 2
_FIB_MATCH = 0x2000
_INT = struct.Struct("=I")
_PORT = struct.Struct("!H")
_IFINFOMSG = struct.Struct("=BxHiII")
_IFLA_IFNAME, _IFLA_MTU, _IFLA_OPERSTATE = 3, 4, 16
_IFF_UP, _IFF_LOOPBACK = 1, 8
_OPERATION_DOWN = (2, 3)  # IF_OPER_DOWN, IF_OPER_LOWERLAYERDOWN
_RTM_GETNEIGH = 30
_NDMSG = struct.Struct("=BxxxiHBB")
_NDA_DST = 1
_NUD_INCOMPLETE, _NUD_FAILED = 0x01, 0x20


class Flow(NamedTuple):
    """A flow as routing rules see it: `ip rule … ipproto, sport, dport, uidrange`.

    *protocol* is a number, and the *user* that of the process.  0, or None, is unknown.
    """

    protocol: int = 0
    source_port: int = 0
    port: int = 0
    user: int | None = None

    def attributes(self) -> bytes:
        """Return it as attributes of a request for a route."""
        found = b""
        if self.protocol:
            found += attribute(_RTA_IP_PROTO, bytes([self.protocol]))
        if self.source_port:
            found += attribute(_RTA_SPORT, _PORT.pack(self.source_port))
        if self.port:
            found += attribute(_RTA_DPORT, _PORT.pack(self.port))
        return found if self.user is None else found + attribute(_RTA_UID, _INT.pack(self.user))


_ANY = Flow()


class Answer(NamedTuple):
    """The route of a packet; *error* is the errno of the refusal where there is none.

    *interface* is an index, *gateway* and *source* are texts, *mtu* is 0 unless the route has one
    of its own.  *network* and *length* are those of the entry that decides, where the kernel says.
    """

    error: int = 0
    kind: int = 0
    interface: int = 0
    gateway: str = ""
    source: str = ""
    mtu: int = 0
    protocol: int = 0
    table: int = 0
    network: str = ""
    length: int = 0

    @property
    def is_local(self) -> bool:
        return not self.error and self.kind == LOCAL


@dataclass(frozen=True)
class LinkState:
    """An interface: whether it is *up*, and *works*: has a carrier as far as the kernel knows."""

    index: int
    name: str
    mtu: int
    up: bool
    works: bool
    loopback: bool


class Neighbour(NamedTuple):
    """A neighbour on the link of an *interface*; one that *failed* did not answer."""

    address: str
    interface: int
    failed: bool
    waits: bool


def route(destination: str, source: str = "", arrives: int = 0, flow: Flow = _ANY) -> Answer:
    """Return the kernel's route of a packet of *flow* to *destination*, an address as text.

    With *arrives*, an interface, it is that of a packet which arrives there from *source*.
    """
    octets = packed(destination)
    family, width = (AF_INET, 32) if len(octets) == 4 else (AF_INET6, 128)
    body = attribute(_RTA_DST, octets)
    if source:
        body += attribute(_RTA_SRC, packed(source))
    if arrives:
        body += attribute(_RTA_IIF, _INT.pack(arrives))
    body += flow.attributes()

    def ask(flags: int) -> bytes:
        head = _RTMSG.pack(family, width, width if source else 0, 0, 0, 0, 0, 0, flags)
        with Netlink.create(NETLINK_ROUTE) as netlink:
            return netlink.request(RTM_GETROUTE, head + body)[0]

    try:
        found = _answer(ask(0))
    except OSError as error:
        return Answer(error.errno or errno.ENETUNREACH)
    try:
        entry = _answer(ask(_FIB_MATCH))
    except OSError:
        return found
    return found._replace(
        network=entry.network, length=entry.length, table=entry.table, protocol=entry.protocol
    )


def _answer(body: bytes) -> Answer:
    _, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(body)
    attrs = dict(attributes(body[_RTMSG.size :]))
    metrics = dict(attributes(attrs.get(_RTA_METRICS, b"")))
    wide = attrs.get(_RTA_DST, b"")
    return Answer(
        0,
        kind,
        _number(attrs.get(_RTA_OIF)),
        text(attrs[_RTA_GATEWAY]) if _RTA_GATEWAY in attrs else "",
        text(attrs[_RTA_PREFSRC]) if _RTA_PREFSRC in attrs else "",
        _number(metrics.get(_RTAX_MTU)),
        protocol,
        _number(attrs.get(_RTA_TABLE)) or table,
        text(wide) if wide else "",
        length,
    )


def links() -> dict[int, LinkState]:
    """Return all interfaces by index.  Raises OSError."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        found = map(_link, netlink.dump(RTM_GETLINK, bytes(_IFINFOMSG.size)))
        return {link.index: link for link in found}


def _link(body: bytes) -> LinkState:
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(body)
    attrs = dict(attributes(body[_IFINFOMSG.size :]))
    operation = attrs.get(_IFLA_OPERSTATE, b"\0")[0]
    up = bool(flags & _IFF_UP)
    return LinkState(
        index,
        attrs[_IFLA_IFNAME].rstrip(bytes(1)).decode(errors="replace"),
        _number(attrs.get(_IFLA_MTU)),
        up,
        up and operation not in _OPERATION_DOWN,
        bool(flags & _IFF_LOOPBACK),
    )


def neighbours() -> list[Neighbour]:
    """Return the neighbours that the kernel knows of.  Raises OSError."""
    found = []
    with Netlink.create(NETLINK_ROUTE) as netlink:
        for body in netlink.dump(_RTM_GETNEIGH, bytes(_NDMSG.size)):
            _, interface, state, _, _ = _NDMSG.unpack_from(body)
            octets = dict(attributes(body[_NDMSG.size :])).get(_NDA_DST, b"")
            if len(octets) in (4, 16):
                failed, waits = bool(state & _NUD_FAILED), bool(state & _NUD_INCOMPLETE)
                found.append(Neighbour(text(octets), interface, failed, waits))
    return found


def _number(octets: bytes | None) -> int:
    return int(_INT.unpack(octets)[0]) if octets else 0
