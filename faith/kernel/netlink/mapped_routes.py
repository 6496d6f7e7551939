"""Local routes that make mapped IPv4 networks the host's own, so that it answers ARP for them.

``local 198.51.100.102 dev lo table local proto 70 metric PID``: as with prefixes, the protocol
number is FAITH's mark.  The metric is the process that wants the network: two daemons have a route
each, and each removes its own.  A route whose metric is no running daemon was left by a dead one.

An address of an interface is a longer or an older match, so it keeps its meaning.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from faith.kernel import text_file
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Netlink,
    setup_error,
)
from faith.kernel.netlink.routes import PROTOCOL
from faith.translation.address import text4

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

CAPABILITIES = ("CAP_NET_ADMIN",)

_CONF = Path("/proc/sys/net/ipv4/conf")
_STEP = "map IPv4 networks"
_ANY = b"\xff\xff\xff\xff"  # a placeholder for an address: nothing else in a route has these octets


def held() -> dict[int, set[Network]]:
    """Return the mapped networks of this host by the process that wants each.

    Needs no privilege.  Raises OSError.
    """
    found: dict[int, set[Network]] = {}
    with Netlink.create(NETLINK_ROUTE) as netlink:
        for network, length, process in rtnetlink.local_ipv4(netlink, PROTOCOL):
            found.setdefault(process, set()).add((network, length))
    return found


def change(kind: int, body: bytes) -> tuple[Network, int, bool] | None:
    """Return the mapped network that a notification is about, its process, and whether it came.

    None for a notification about anything else.
    """
    if kind not in (rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE) or body[0] != rtnetlink.AF_INET:
        return None
    route = rtnetlink.Route(body)
    if (route.table, route.protocol) != (rtnetlink.TABLE_LOCAL, PROTOCOL):
        return None
    return (route.network, route.length), route.metric, kind == rtnetlink.RTM_NEWROUTE


def hold(networks: Collection[Network], process: int) -> None:
    """Make *networks* local for the process number *process*; existing routes stay.

    Raises SetupError.
    """
    _change(rtnetlink.RTM_NEWROUTE, networks, process, NLM_F_CREATE | NLM_F_REPLACE)


def release(networks: Collection[Network], process: int) -> None:
    """Undo `hold`; routes that do not exist are ignored.  Raises SetupError."""
    _change(rtnetlink.RTM_DELROUTE, networks, process, 0)


def _change(kind: int, networks: Collection[Network], process: int, flags: int) -> None:
    of_length = {
        length: rtnetlink.local_route(_ANY, length, PROTOCOL, process).split(_ANY)
        for length in {length for _, length in networks}
    }
    bodies = (address.to_bytes(4, "big").join(of_length[length]) for address, length in networks)
    try:
        with Netlink.create(NETLINK_ROUTE) as netlink:
            netlink.requests(kind, bodies, flags, ignored=(errno.ESRCH,))
    except OSError as error:
        raise setup_error(_STEP, error) from error


def on_link(networks: Iterable[Network]) -> Iterator[tuple[str, Network]]:
    """Return those of *networks* in the subnet of an interface that uses ARP, with its name."""
    some = list(networks)
    for subnet, name in _subnets() if some else ():
        for network in some:
            if _holds(subnet, network):
                yield name, network


def _subnets() -> Iterator[tuple[Network, str]]:
    """Return the IPv4 subnets on links where hosts are found by ARP, and their interfaces."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        links = rtnetlink.links(netlink)
        routes = list(rtnetlink.routes(netlink, rtnetlink.AF_INET, rtnetlink.TABLE_MAIN))
    for route in routes:
        link = links.get(route.interface)
        if route.direct and route.length and link and link.neighbours:
            yield (route.network, route.length), link.name


def unanswered(networks: Iterable[Network]) -> Iterator[str]:
    """Return why the host does not answer ARP for *networks* in the subnets of its interfaces.

    One sentence for each interface.  Networks elsewhere are routed to this host and need no ARP.
    """
    some = list(networks)
    for subnet, name in _subnets():
        if _arp_ignore(name) and any(_holds(subnet, network) for network in some):
            yield (
                f"{name} answers ARP for its own addresses alone, and not for mapped ones of"
                f" {text4(*subnet)}: sysctl net.ipv4.conf.{name}.arp_ignore=0, and"
                " all.arp_ignore=0"
            )


def _arp_ignore(interface: str) -> bool:
    """Return whether *interface* answers for its own addresses only (arp_ignore of ip-sysctl)."""
    try:
        return any(
            int(text_file.read_leniently(_CONF / who / "arp_ignore")) for who in ("all", interface)
        )
    except OSError:
        return False


def _holds(outer: Network, inner: Network) -> bool:
    return inner[1] >= outer[1] and (outer[0] ^ inner[0]) >> (32 - outer[1]) == 0
