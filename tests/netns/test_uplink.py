"""The IPv4 uplink of a host, as its routes and interfaces show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import uplink
from faith.lab import wait_until
from faith.translation.address import number

if TYPE_CHECKING:
    from faith.lab import Network
    from faith.lab.host import Host

pytestmark = pytest.mark.netns

ROUTER = "192.0.2.80"


@pytest.fixture
def hosts(network: Network) -> tuple[Host, Host]:
    """A host with one IPv4 network, and the router in it."""
    host, router = network.host("host"), network.host("router")
    network.link(host, router, ["192.0.2.1/24"], [f"{ROUTER}/24"])
    return host, router


def kind(host: Host) -> str | None:
    found = host.call(uplink.trouble)
    return found.kind if found else None


def text(host: Host) -> str:
    found = host.call(uplink.trouble)
    assert found
    return found.text


def obstacle(host: Host, address: str) -> str:
    return host.call(lambda: uplink.obstacle(number(address)))


def test_a_host_without_any_network_has_no_uplink(network: Network) -> None:
    bare = network.host("bare")
    assert kind(bare) == "missing"
    assert text(bare) == "no route to any IPv4 network: Network is unreachable"


def test_a_route_to_some_networks_is_not_one_to_the_world(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    assert kind(host) == "no default"
    host.links.add_route("default", ROUTER)
    assert kind(host) is None


def test_an_interface_that_is_down_is_named(network: Network, hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    host.links.add_route("default", ROUTER)
    host.run(["ip", "link", "set", "to-router", "down"])
    assert kind(host) == "down"
    assert text(host) == "no route to any IPv4 network: to-router, which is down"
    network.link(host, network.host("other"), ["198.51.100.1/24"], ["198.51.100.2/24"])
    assert kind(host) == "down"
    assert text(host) == "no IPv4 route to the world: to-router, which is down"


def test_an_interface_without_a_carrier_is_named(hosts: tuple[Host, Host]) -> None:
    host, router = hosts
    host.links.add_route("default", ROUTER)
    assert obstacle(host, ROUTER) == ""
    router.run(["ip", "link", "set", "to-host", "down"])
    wait_until(lambda: kind(host) == "down", 5, "the carrier being gone")
    assert text(host) == "the IPv4 default route leads to to-router, which has no carrier"
    assert obstacle(host, ROUTER) == "the route leads to to-router, which has no carrier"


def test_why_an_address_cannot_be_reached(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    assert obstacle(host, "198.51.100.1") == "no route: Network is unreachable"
    host.run(["ip", "route", "add", "prohibit", "198.51.100.0/24"])
    assert obstacle(host, "198.51.100.1") == "no route: Permission denied"
    assert obstacle(host, "192.0.2.80") == ""
