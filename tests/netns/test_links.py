"""Links, addresses and routes of a host of the lab, with iproute2 as the other witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, Network

    Ip = Callable[[str], str]

pytestmark = pytest.mark.netns


@pytest.fixture
def host(network: Network) -> Host:
    return network.host("one")


@pytest.fixture
def peer(network: Network) -> Host:
    return network.host("two")


@pytest.fixture
def ip(host: Host, need: Callable[[str], str]) -> Ip:
    program = need("ip")
    return lambda words: host.run([program, *words.split()]).stdout


def test_a_pair_joins_two_hosts_with_its_mtu(host: Host, peer: Host, ip: Ip) -> None:
    host.links.join("here", peer.namespace, "there", 1400)
    assert "mtu 1400" in ip("link show here")
    assert not host.links.is_up("here")
    host.links.up("here")
    assert not host.links.is_up("here")  # the other end is down still
    peer.links.up("there")
    wait_until(lambda: host.links.is_up("here") and peer.links.is_up("there"), 5, "the link")


def test_an_address_is_usable_at_once(host: Host, ip: Ip) -> None:
    host.links.add_address("lo", "2001:db8::1/64")
    host.links.add_address("lo", "192.0.2.1/24")
    shown = ip("address show dev lo")
    assert "inet 192.0.2.1/24" in shown
    assert "inet6 2001:db8::1/64 scope global nodad" in shown
    assert "tentative" not in shown
    wanted = ["127.0.0.1/8", "192.0.2.1/24", "2001:db8::1/64", "::1/128"]
    assert host.links.addresses() == sorted(wanted)


def test_routes_are_of_both_families_and_lines_are_much_like_ips(
    network: Network, host: Host, peer: Host, ip: Ip
) -> None:
    network.link(host, peer, ["192.0.2.1/24", "2001:db8::1/64"])
    host.links.add_route("198.51.100.0/24", "192.0.2.2")
    host.links.add_route("default", "2001:db8::2")
    assert "198.51.100.0/24 via 192.0.2.2 dev to-two" in ip("route show")
    assert "default via 2001:db8::2 dev to-two" in ip("-6 route show")
    found = host.links.routes()
    assert "unicast 198.51.100.0/24 via 192.0.2.2 dev to-two table 254 proto 4" in found
    default = "unicast default via 2001:db8::2 dev to-two table 254"
    assert any(line.startswith(default) for line in found)
    assert found == sorted(found)


def test_what_the_kernel_refuses_names_step_and_host(host: Host) -> None:
    with pytest.raises(SetupError, match="eth7 on one: no interface"):
        host.links.is_up("eth7")
    with pytest.raises(SetupError, match=r"addr add .* on one: File exists"):
        host.links.add_address("lo", "127.0.0.1/8")
