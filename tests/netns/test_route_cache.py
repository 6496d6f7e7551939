"""Routes as the kernel answers, with MTUs, sources and refusals."""

from __future__ import annotations

import errno
import socket
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from faith.flow.route_cache import NoRoute, RouteCache, RouteTo
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from tests.netns.own_address import add_address

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def octets(text: str) -> bytes:
    return ip_address(text).packed


@pytest.fixture
def cache() -> Iterator[RouteCache]:
    """The routes of a host with one link, 192.0.2.1/24 and 2001:db8::1/64."""
    ip("link", "add", "one", "mtu", "1400", "type", "veth", "peer", "name", "two")
    for name in ("one", "two"):
        ip("link", "set", name, "up")
    ip("address", "add", "192.0.2.1/24", "dev", "one")
    ip("address", "add", "192.0.2.7/24", "dev", "one")
    add_address("2001:db8::1", 64, "one")
    with Netlink.create(NETLINK_ROUTE) as netlink:
        yield RouteCache(netlink)


def found(cache: RouteCache, address: str, source: str = "", interface: int = 0) -> RouteTo:
    route = cache.to(octets(address), octets(source) if source else b"", interface)
    assert isinstance(route, RouteTo), route
    return route


def test_a_route_has_interface_mtu_and_source(cache: RouteCache) -> None:
    route = found(cache, "192.0.2.80")
    assert route == (socket.if_nametoindex("one"), 1400, octets("192.0.2.1"), False)
    assert found(cache, "2001:db8::80")[:2] == (socket.if_nametoindex("one"), 1400)


def test_the_mtu_of_a_route_counts_where_it_is_smaller(cache: RouteCache) -> None:
    ip("route", "add", "198.51.100.0/24", "via", "192.0.2.80", "mtu", "1200")
    ip("route", "add", "203.0.113.0/24", "via", "192.0.2.80", "mtu", "9000")
    assert found(cache, "198.51.100.1").mtu == 1200
    assert found(cache, "203.0.113.1").mtu == 1400


def test_the_mtu_that_a_router_advertised_is_that_of_ipv6(cache: RouteCache) -> None:
    subprocess.run(["sysctl", "-qw", "net.ipv6.conf.one.mtu=1300"], check=True)
    assert found(cache, "2001:db8::80").mtu == 1300
    assert found(cache, "192.0.2.80").mtu == 1400


def test_a_rule_about_the_source_is_followed(cache: RouteCache) -> None:
    ip("address", "add", "10.0.0.1/24", "dev", "two")
    ip("rule", "add", "from", "192.0.2.7", "lookup", "77")
    ip("route", "add", "default", "via", "10.0.0.2", "table", "77")
    assert found(cache, "198.51.100.1", "192.0.2.7").interface == socket.if_nametoindex("two")
    assert cache.to(octets("198.51.100.1")) == NoRoute(errno.ENETUNREACH)


def test_a_source_that_is_not_there_is_refused(cache: RouteCache) -> None:
    assert isinstance(cache.to(octets("192.0.2.80"), octets("192.0.2.99")), NoRoute)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("unreachable", errno.EHOSTUNREACH),
        ("prohibit", errno.EACCES),
        ("blackhole", errno.EINVAL),
    ],
)
def test_what_the_kernel_refuses_is_no_route(cache: RouteCache, kind: str, number: int) -> None:
    ip("route", "add", kind, "198.51.100.0/24")
    assert cache.to(octets("198.51.100.1")) == NoRoute(number)


def test_an_address_of_this_host_is_local(cache: RouteCache) -> None:
    assert found(cache, "192.0.2.1").local
    assert found(cache, "2001:db8::1").local
    assert isinstance(cache.to(octets("192.0.2.255")), NoRoute)  # broadcast
    assert isinstance(cache.to(octets("ff02::1"), interface=1), NoRoute)


def test_a_link_local_address_is_on_the_link_that_is_named(cache: RouteCache) -> None:
    for name in ("one", "two"):
        index = socket.if_nametoindex(name)
        assert found(cache, "fe80::99", interface=index).interface == index


def test_answers_are_kept_until_they_are_cleared(cache: RouteCache) -> None:
    before = found(cache, "192.0.2.80")
    ip("link", "set", "one", "mtu", "1350")
    assert found(cache, "192.0.2.80") is before
    cache.clear()
    assert found(cache, "192.0.2.80").mtu == 1350


def test_answers_are_bounded(cache: RouteCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faith.flow.route_cache.MOST_ROUTES", 10)
    for n in range(10, 45):
        found(cache, f"192.0.2.{n}")
    assert len(cache._routes) <= 10
