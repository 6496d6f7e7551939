"""The addresses of interfaces, as iproute2 has set them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import interfaces
from faith.translation.address import number6
from faith.translation.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Network

pytestmark = pytest.mark.netns


def test_addresses_and_the_networks_they_connect(
    network: Network, need: Callable[[str], str]
) -> None:
    ip = need("ip")
    host, neighbour = network.host("gateway"), network.host("peer")
    network.link(host, neighbour, ["2001:db8:6::1/64", "192.0.2.1/24"])
    host.run([ip, "addr", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", "to-peer"])
    found = host.call(interfaces.addresses)
    assert {(own.address, own.network) for own in found if not own.is_link_local} == {
        (ip_address("127.0.0.1"), ip_network("127.0.0.0/8")),
        (ip_address("::1"), ip_network("::1/128")),
        (ip_address("192.0.2.1"), ip_network("192.0.2.0/24")),
        (ip_address("198.51.100.1"), ip_network("198.51.100.2/32")),
        (ip_address("2001:db8:6::1"), ip_network("2001:db8:6::/64")),
    }


def test_link_local_addresses_are_those_of_their_interface(network: Network) -> None:
    host, neighbour = network.host("gateway"), network.host("peer")
    network.link(host, neighbour, ["2001:db8:6::1/64"])
    found = [own for own in host.call(interfaces.addresses) if own.is_link_local]
    (there,) = {own.interface for own in host.call(interfaces.addresses) if not _is_loopback(own)}
    assert [(own.network, own.interface) for own in found] == [(ip_network("fe80::/64"), there)]


def test_the_networks_on_the_links_are_those_of_the_addresses(
    network: Network, need: Callable[[str], str]
) -> None:
    ip = need("ip")
    host, neighbour = network.host("gateway"), network.host("peer")
    network.link(host, neighbour, ["2001:db8:6::1/64", "192.0.2.1/24"])
    host.run([ip, "addr", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", "to-peer"])
    host.run([ip, "route", "add", "203.0.113.0/24", "via", "192.0.2.9"])
    connected = Networks(128, host.call(interfaces.connected))

    def on_link(*addresses: str) -> list[bool]:
        return [number6(address) in connected for address in addresses]

    assert all(on_link("2001:db8:6::1", "2001:db8:6::99", "192.0.2.1", "192.0.2.99"))
    assert all(on_link("198.51.100.1", "198.51.100.2", "127.0.0.1", "::1", "fe80::9"))
    assert not any(on_link("2001:db8:7::1", "192.0.3.1", "198.51.100.3", "203.0.113.1", "::2"))
    host.run([ip, "addr", "del", "192.0.2.1/24", "dev", "to-peer"])
    connected = Networks(128, host.call(interfaces.connected))
    assert not any(on_link("192.0.2.1", "192.0.2.99"))


def _is_loopback(own: interfaces.OwnAddress) -> bool:
    return own.address.is_loopback
