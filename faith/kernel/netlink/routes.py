"""The AnyIP route that makes a prefix local, and what the kernel's tables say about this host.

``local PREFIX dev lo table local proto 70 metric M`` delivers every address of a prefix to this
host's own sockets.  The protocol number marks the routes of FAITH for every process, and says whose
they are: 70 those of ``faith -e``, which stay until ``faith -d``, and 71 those of daemons, which
stay as long as one has the prefix in its file.  The metric is the RFC that defines the layout: 3142
for low32, 6052 for rfc6052.

Reading needs no privilege; ``reserve`` and ``release`` need CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno

from faith.errors import ConfigError
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Netlink,
    setup_error,
)
from faith.translation.address import text6
from faith.translation.prefix import LOW32, RFC6052, Prefix, never_reserved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from faith.kernel.netlink.rtnetlink import Address, Link, Route

PROTOCOL = 70
"""The route protocol number of what ``faith -e`` reserves, and of mapped networks."""
OF_DAEMONS = 71
"""The route protocol number of what a daemon reserves for as long as it runs."""
OWNERS = (PROTOCOL, OF_DAEMONS)
"""Every mark of a route of FAITH's."""
_ANSWERED = (rtnetlink.LOCAL, rtnetlink.BROADCAST, rtnetlink.ANYCAST, rtnetlink.MULTICAST)

METRICS = {LOW32: 3142, RFC6052: 6052}
"""The metric that stands for each layout."""

_HINTS = {
    errno.ENETDOWN: "bring the loopback interface up: ip link set lo up",
    errno.EACCES: "allow IPv6 on the loopback interface: sysctl net.ipv6.conf.lo.disable_ipv6=0",
}
# RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE
_GROUPS = 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10


def owners() -> dict[Prefix, int]:
    """Return the prefixes reserved on this host, each with `PROTOCOL` or `OF_DAEMONS`."""
    layouts = {metric: layout for layout, metric in METRICS.items()}
    with Netlink.create(NETLINK_ROUTE) as netlink:
        return {
            Prefix(route.network, route.length, layouts[route.metric]): owner
            for owner in OWNERS
            for route in rtnetlink.routes(netlink, rtnetlink.AF_INET6, rtnetlink.TABLE_LOCAL, owner)
            if _ours(route)
        }


def reserved() -> list[Prefix]:
    """Return the prefixes reserved on this host, by any process."""
    return list(owners())


def reserve(*prefixes: Prefix, owner: int = PROTOCOL) -> None:
    """Make *prefixes* local, each with its layout, for *owner*.

    A reservation under the other layout, or by another owner, is replaced.  Raises SetupError, when
    all that can be reserved are.
    """
    try:
        with Netlink.create(NETLINK_ROUTE) as netlink:
            there = owners()
            new = [_anyip(prefix, METRICS[prefix.layout], owner) for prefix in prefixes]
            netlink.requests(rtnetlink.RTM_NEWROUTE, new, NLM_F_CREATE | NLM_F_REPLACE)
            others = [other for prefix in prefixes if (other := _other_layout(prefix)) in there]
            _delete(netlink, others)
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise setup_error(_step("reserve", prefixes), error, hint) from error


def release(*prefixes: Prefix, owner: int | None = None) -> bool:
    """Undo ``reserve``, for either layout; return False when none of *prefixes* was reserved.

    With an *owner*, what is of another one stays.  Raises SetupError.
    """
    there = {one: whose for one, whose in owners().items() if owner in (None, whose)}
    either = {layout for prefix in prefixes for layout in (prefix, _other_layout(prefix)) if layout}
    found = [one for one in there if one in either]
    try:
        with Netlink.create(NETLINK_ROUTE) as netlink:
            _delete(netlink, found)
    except OSError as error:
        raise setup_error(_step("release", prefixes), error) from error
    return bool(found)


def _step(verb: str, prefixes: Sequence[Prefix]) -> str:
    return f"{verb} {prefixes[0] if len(prefixes) == 1 else f'{len(prefixes)} prefixes'}"


def _other_layout(prefix: Prefix) -> Prefix | None:
    """Return the same prefix with the other layout, None where that has no prefix of its length."""
    try:
        return Prefix(
            prefix.address, prefix.length, {LOW32: RFC6052, RFC6052: LOW32}[prefix.layout]
        )
    except ConfigError:
        return None


def _delete(netlink: Netlink, prefixes: Iterable[Prefix]) -> None:
    bodies = [
        _anyip(prefix, METRICS[prefix.layout], owner) for prefix in prefixes for owner in OWNERS
    ]
    netlink.requests(rtnetlink.RTM_DELROUTE, bodies, ignored=(errno.ESRCH,))


def _anyip(prefix: Prefix, metric: int, owner: int) -> bytes:
    return rtnetlink.local_route(prefix.packed, prefix.length, owner, metric)


def _ours(route: Route) -> bool:
    return (
        route.table == rtnetlink.TABLE_LOCAL
        and route.kind == rtnetlink.LOCAL
        and route.protocol in OWNERS
        and route.metric in METRICS.values()
    )


def own_ipv4() -> list[tuple[int, int]]:
    """Return the ``(network, length)`` pairs that this host answers for on IPv4.

    These are its addresses, their broadcasts, 127.0.0.0/8 and everything else in its local table,
    and the local routes of every other table, such as those of VRFs, except the networks mapped by
    a faithd.  A local default route of another table is a way to steer packets, and no address.
    """
    return _own(rtnetlink.AF_INET)


def own_ipv6() -> list[tuple[int, int]]:
    """Return the ``(network, length)`` pairs that this host answers for on IPv6.

    These are its addresses, the anycast addresses of its subnets and everything else in its local
    table, and the local routes of every other table as in `own_ipv4`, except the prefixes that are
    reserved.
    """
    return _own(rtnetlink.AF_INET6)


def _own(family: int) -> list[tuple[int, int]]:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        found = [
            route
            for route in rtnetlink.routes(netlink, family, rtnetlink.TABLE_LOCAL, but=OWNERS)
            if route.kind in _ANSWERED
        ]
        found += [
            route
            for route in rtnetlink.local_routes(netlink, family, but=OWNERS)
            if route.table != rtnetlink.TABLE_LOCAL and route.length
        ]
    return list(dict.fromkeys((route.network, route.length) for route in found))


def local_ipv4() -> list[tuple[int, int]]:
    """Return the ``(network, length)`` pairs of IPv4 addresses that this host can connect from."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        found = rtnetlink.routes(netlink, rtnetlink.AF_INET, rtnetlink.TABLE_LOCAL, but=OWNERS)
        return [(route.network, route.length) for route in found if route.kind == rtnetlink.LOCAL]


def conflicts(prefix: Prefix) -> str | None:
    """Return why *prefix* cannot be reserved on this host, as a clause about "it"; None if it can.

    It must contain none of the host's addresses, lie in no subnet of its interfaces, and no other
    route may lead into it.  A route to a larger network is no obstacle: the prefix is the longer
    match.  Policy-routing tables are not looked at.
    """
    return next((reason for _, reason in conflicts_of([prefix])), None)


def conflicts_of(prefixes: Iterable[Prefix]) -> Iterator[tuple[Prefix, str]]:
    """Return those of *prefixes* that cannot be reserved on this host, each with the first reason.

    The kernel's tables are read once for all of them; see `conflicts`.
    """
    with Netlink.create(NETLINK_ROUTE) as netlink:
        links = rtnetlink.links(netlink)
        addresses = rtnetlink.addresses(netlink)
        others = [
            route
            for table in (rtnetlink.TABLE_MAIN, rtnetlink.TABLE_LOCAL)
            for route in rtnetlink.routes(netlink, rtnetlink.AF_INET6, table)
            if not _ours(route)
        ]
    for prefix in prefixes:
        if reason := next(_conflicts(prefix, links, addresses, others), None):
            yield prefix, reason


def _conflicts(
    prefix: Prefix, links: dict[int, Link], addresses: list[Address], others: list[Route]
) -> Iterator[str]:
    if never := never_reserved(prefix):
        yield never
    for address in addresses:
        yield from _with_address(prefix, address, links.get(address.interface))
    for route in others:
        yield from _with_route(prefix, route, links.get(route.interface))


def _with_address(prefix: Prefix, own: Address, link: Link | None) -> Iterator[str]:
    interface = link.name if link else "an interface"
    if own.address in prefix:
        yield f"it holds {text6(own.address)}, an address of {interface}"
    elif _holds(own.network, own.length, prefix.address, prefix.length):
        yield f"it lies in {rtnetlink.text(own.network, own.length)}, the subnet of {interface}"


def _with_route(prefix: Prefix, route: Route, link: Link | None) -> Iterator[str]:
    where = rtnetlink.text(route.network, route.length)
    way = f" through {link.name}" if link else ""
    if (route.network, route.length) == (prefix.address, prefix.length):
        yield f"it has a route already{way}, protocol {route.protocol}"
    elif _holds(prefix.address, prefix.length, route.network, route.length):
        yield f"it holds {where}, which has a route{way}"
    elif (
        _holds(route.network, route.length, prefix.address, prefix.length)
        and (route.kind, route.direct) == (rtnetlink.UNICAST, True)
        and route.length
        and link
        and link.neighbours
    ):
        yield f"it lies in {where}, which is on the link of {link.name}"


def _holds(network: int, length: int, inner: int, inner_length: int) -> bool:
    return inner_length >= length and (network ^ inner) >> (128 - length) == 0


def forwarding_warnings() -> list[str]:
    """Return what keeps this host from relaying, as far as its addresses and routes show."""
    from faith.kernel.netlink import uplink  # inetd mode does without

    trouble = uplink.trouble()
    return [*filter(None, (unreachable(), trouble and trouble.text))]


def unreachable() -> str:
    """Return why clients cannot reach this host, as far as its addresses show, or ""."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        if any(map(_reachable, rtnetlink.addresses(netlink))):
            return ""
    return "no interface has an IPv6 address beyond its own link: clients cannot reach this host"


def _reachable(own: Address) -> bool:
    return own.scope == rtnetlink.SCOPE_UNIVERSE and own.interface != rtnetlink.LOOPBACK


class Watch:
    """Notifications of possible changes of this host's addresses and local tables, IPv4 and IPv6.

    Wait until ``fileno()`` is readable, then call ``drain()``.
    """

    __slots__ = ("_netlink",)

    def __init__(self) -> None:
        self._netlink = Netlink.create(NETLINK_ROUTE, _GROUPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._netlink.close()

    def fileno(self) -> int:
        return self._netlink.fileno()

    def drain(self, known: Callable[[int, bytes], bool] = lambda kind, body: False) -> bool:
        """Read all notifications since the last call; return whether there was a change.

        Addresses and routes of local tables are watched.  A notification that the kernel had to
        drop counts as a change, one of what is *known* already as none.
        """
        changed = False
        while True:
            try:
                for kind, body in self._netlink.notifications():
                    changed = changed or (rtnetlink.is_local(kind, body) and not known(kind, body))
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changed = True


def watch() -> Watch:
    """Start to watch; see :class:`Watch`."""
    return Watch()
