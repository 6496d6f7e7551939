"""Routes, addresses and interfaces as read from the kernel, compared with iproute2."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Network

pytestmark = pytest.mark.netns

GATEWAY = "2001:db8:6::1"


@pytest.fixture
def ip(network: Network, need: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """iproute2 on a host with a link, in whose namespace the test runs."""
    program = need("ip")
    host = network.host("gateway")
    network.link(host, network.host("peer"), [f"{GATEWAY}/64", "192.0.2.1/24"])
    with host.inside():
        yield lambda words: host.run([program, *words.split()]).stdout


def own(address: str) -> rtnetlink.Address:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        found = {a.address: a for a in rtnetlink.addresses(netlink)}
    return found[int(IPv6Address(address))]


def routes(table: int, family: int = rtnetlink.AF_INET6) -> dict[str, rtnetlink.Route]:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        found = list(rtnetlink.routes(netlink, family, table))
    return {rtnetlink.text(route.network, route.length): route for route in found}


def test_a_route_by_a_gateway(ip: Callable[[str], str]) -> None:
    ip(f"-6 route add 2001:db8:a::/48 via {GATEWAY[:-1]}2 metric 7 table 100 proto 99")
    (route,) = routes(100).values()
    assert (route.metric, route.protocol, route.table) == (7, 99, 100)
    assert (route.kind, route.direct) == (rtnetlink.UNICAST, False)


def test_a_default_route_on_the_link(ip: Callable[[str], str]) -> None:
    ip("-6 route add default dev to-peer")
    route = routes(rtnetlink.TABLE_MAIN)["::/0"]
    assert route.direct
    with Netlink.create(NETLINK_ROUTE) as netlink:
        link = rtnetlink.links(netlink)[route.interface]
    assert (link.name, link.neighbours) == ("to-peer", True)


def test_several_next_hops_are_gateways(ip: Callable[[str], str]) -> None:
    ip("-6 route add 2001:db8:a::/48 nexthop via 2001:db8:6::2 nexthop via 2001:db8:6::3")
    assert not routes(rtnetlink.TABLE_MAIN)["2001:db8:a::/48"].direct


def test_a_table_nothing_was_put_into(ip: Callable[[str], str]) -> None:
    assert ip("route show table main")
    assert not routes(111)
    assert not routes(111, rtnetlink.AF_INET)


def test_loopback_has_no_neighbours(ip: Callable[[str], str]) -> None:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        assert not rtnetlink.links(netlink)[rtnetlink.LOOPBACK].neighbours
    assert ip("link show lo").startswith(f"{rtnetlink.LOOPBACK}: lo:")


def test_the_subnet_of_an_address(ip: Callable[[str], str]) -> None:
    ip("-6 addr add 2001:db8:7:0:1::1/65 dev to-peer nodad")
    found = own("2001:db8:7:0:1::1")
    assert rtnetlink.text(found.network, found.length) == "2001:db8:7::/65"
    assert found.scope == rtnetlink.SCOPE_UNIVERSE


def test_an_address_with_a_far_end(ip: Callable[[str], str]) -> None:
    ip("-6 addr add 2001:db8:7::1 peer 2001:db8:8::1/64 dev to-peer nodad")
    found = own("2001:db8:7::1")
    assert rtnetlink.text(found.network, found.length) == "2001:db8:8::/64"


def test_an_address_without_a_subnet(ip: Callable[[str], str]) -> None:
    ip("-6 addr add 2001:db8:7::1/64 dev to-peer noprefixroute nodad")
    found = own("2001:db8:7::1")
    assert rtnetlink.text(found.network, found.length) == "2001:db8:7::1/128"


@pytest.mark.usefixtures("ip")
def test_the_way_to_an_address() -> None:
    with Netlink.create(NETLINK_ROUTE) as netlink:
        near = rtnetlink.route_to(netlink, rtnetlink.AF_INET, int(IPv4Address("192.0.2.80")))
        assert near.kind == rtnetlink.UNICAST
        self = rtnetlink.route_to(netlink, rtnetlink.AF_INET6, int(IPv6Address(GATEWAY)))
        assert self.kind == rtnetlink.LOCAL
        with pytest.raises(OSError, match="unreachable"):
            rtnetlink.route_to(netlink, rtnetlink.AF_INET, int(IPv4Address("198.51.100.1")))
