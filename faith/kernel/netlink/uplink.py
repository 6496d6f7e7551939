"""The IPv4 uplink: whether this host has a way to the IPv4 hosts it relays to.

Routes are looked up; nothing is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.netlink.rtnetlink import Link

FAR_AWAY = 0xC6290004  # 198.41.0.4, a.root-servers.net: the route is looked up, nothing is sent


class Trouble(NamedTuple):
    """A fault of the uplink.

    *missing* is no route to any IPv4 network, *down* an interface that is down or without a
    carrier, and *no default* that routes lead to some networks only.
    """

    kind: Literal["missing", "down", "no default"]
    text: str


def trouble() -> Trouble | None:
    """Return the fault of the way to the IPv4 Internet, None if there is a way.  Raises OSError."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        links = rtnetlink.links(netlink)
        try:
            route = rtnetlink.route_to(netlink, rtnetlink.AF_INET, FAR_AWAY)
        except OSError as error:
            return _without_default(netlink, links, str(error.strerror))
        link = links.get(route.interface)
        if link and not link.runs:
            return Trouble("down", f"the IPv4 default route leads to {_state(link)}")
        return None


def _without_default(netlink: Netlink, links: dict[int, Link], why: str) -> Trouble:
    """Say what is left without a route to the IPv4 Internet, and which interface is to blame."""
    ours = [links[one] for one in sorted(rtnetlink.with_ipv4(netlink)) if one in links]
    others = [link for link in ours if link.index != rtnetlink.LOOPBACK]
    table = rtnetlink.routes(netlink, rtnetlink.AF_INET, rtnetlink.TABLE_MAIN)
    lead = {route.interface for route in table if route.kind == rtnetlink.UNICAST}
    if any(link.runs and link.index in lead for link in others):
        off = [link for link in others if not link.up]
        some = "no IPv4 route to the world"
        return (
            Trouble("down", f"{some}: {_states(off)}")
            if off
            else Trouble("no default", f"{some}: {why}")
        )
    if off := [link for link in others if not link.runs]:
        return Trouble("down", f"no route to any IPv4 network: {_states(off)}")
    return Trouble("missing", f"no route to any IPv4 network: {why}")


def obstacle(address: int) -> str:
    """Return why nothing can be sent to the IPv4 *address*, "" if there is a route.

    Raises OSError when it cannot be found out.
    """
    with Netlink.create(NETLINK_ROUTE) as netlink:
        try:
            route = rtnetlink.route_to(netlink, rtnetlink.AF_INET, address)
        except OSError as error:
            return f"no route: {error.strerror}"
        link = rtnetlink.links(netlink).get(route.interface)
    return f"the route leads to {_state(link)}" if link and not link.runs else ""


def _states(links: Iterable[Link]) -> str:
    return ", ".join(map(_state, links))


def _state(link: Link) -> str:
    return f"{link.name}, which {'has no carrier' if link.up else 'is down'}"
