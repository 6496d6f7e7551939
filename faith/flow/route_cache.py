"""Routes of this host's packets, as the kernel answers for one address, kept until they change."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.netlink.netlink import attribute, attributes
from faith.kernel.netlink.rtnetlink import (
    AF_INET,
    AF_INET6,
    LOCAL,
    RTM_GETLINK,
    RTM_GETROUTE,
    UNICAST,
)

if TYPE_CHECKING:
    from faith.kernel.netlink.netlink import Netlink

MOST_ROUTES = 16384
"""Routes that are kept; when there are more, all are forgotten at once."""
_LONGEST = 0xFFFF
"""Octets: the greatest MTU that IP packets can use."""

# linux/rtnetlink.h, linux/if_link.h, linux/ipv6.h
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_PREFSRC, _RTA_METRICS = 1, 2, 4, 7, 8
_RTAX_MTU = 2
_IFINFOMSG = struct.Struct("=BxHiII")
_IFLA_MTU, _IFLA_AF_SPEC, _INET6_CONF = 4, 26, 2
_DEVCONF_MTU6 = 2
_INT = struct.Struct("=I")


class RouteTo(NamedTuple):
    """A route: the *interface* to send by, its *mtu* in octets, and the kernel's *source* address.

    *local* says that the address is this host's own.
    """

    interface: int
    mtu: int
    source: bytes
    local: bool


class NoRoute(NamedTuple):
    """A route that is missing, by the *errno* of the kernel's answer."""

    errno: int


class RouteCache:
    """The routes that *netlink*, an rtnetlink socket, has answered."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._routes: dict[tuple[bytes, bytes | int], RouteTo | NoRoute] = {}
        self._mtus: dict[int, tuple[int, int]] = {}

    def clear(self) -> None:
        """Forget everything: something has changed."""
        self._routes.clear()
        self._mtus.clear()

    def to(self, address: bytes, source: bytes = b"", interface: int = 0) -> RouteTo | NoRoute:
        """Return the route to a packed *address*, from *source* and by *interface* if given."""
        key = address, source or interface
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            found = self._routes[key] = self._ask(address, source, interface)
        return found

    def _ask(self, address: bytes, source: bytes, interface: int) -> RouteTo | NoRoute:
        family = AF_INET if len(address) == 4 else AF_INET6
        wide = len(address) * 8
        body = _RTMSG.pack(family, wide, wide if source else 0, 0, 0, 0, 0, 0, 0)
        body += attribute(_RTA_DST, address)
        if source:
            body += attribute(_RTA_SRC, source)
        if interface:
            body += attribute(_RTA_OIF, _INT.pack(interface))
        try:
            return self._parse(family, self._netlink.request(RTM_GETROUTE, body)[0])
        except OSError as error:
            return NoRoute(error.errno or errno.ENETUNREACH)

    def _parse(self, family: int, body: bytes) -> RouteTo | NoRoute:
        kind = body[7]
        if kind not in (UNICAST, LOCAL):
            return NoRoute(errno.ENETUNREACH)
        attrs = dict(attributes(body[_RTMSG.size :]))
        (interface,) = _INT.unpack(attrs.get(_RTA_OIF, bytes(4)))
        metrics = dict(attributes(attrs.get(_RTA_METRICS, b"")))
        mtu = self._mtu(interface, family)
        if _RTAX_MTU in metrics:
            mtu = min(mtu, _INT.unpack(metrics[_RTAX_MTU])[0] or mtu)
        return RouteTo(interface, mtu, attrs.get(_RTA_PREFSRC, b""), kind == LOCAL)

    def _mtu(self, interface: int, family: int) -> int:
        found = self._mtus.get(interface)
        if found is None:
            found = self._mtus[interface] = self._ask_mtus(interface)
        return found[family == AF_INET6]

    def _ask_mtus(self, interface: int) -> tuple[int, int]:
        """Return the MTU of an interface for IPv4 and for IPv6.  Raises OSError."""
        (link, *_) = self._netlink.request(RTM_GETLINK, _IFINFOMSG.pack(0, 0, interface, 0, 0))
        attrs = dict(attributes(link[_IFINFOMSG.size :]))
        mtu = min(_INT.unpack(attrs[_IFLA_MTU])[0], _LONGEST)
        of_v6 = dict(attributes(dict(attributes(attrs.get(_IFLA_AF_SPEC, b""))).get(AF_INET6, b"")))
        settings = of_v6.get(_INET6_CONF, b"")
        at = _DEVCONF_MTU6 * _INT.size
        if len(settings) < at + _INT.size:
            return mtu, mtu
        return mtu, min(mtu, _INT.unpack_from(settings, at)[0] or mtu)
