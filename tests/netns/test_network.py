from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network

if TYPE_CHECKING:
    from faith.lab import Host

pytestmark = pytest.mark.netns


def reaches(client: Host, server: Host, address: str) -> bool:
    """By the first packet: UDP is not sent again."""
    with (
        server.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as there,
        client.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("::", 9))
        there.settimeout(2)
        here.sendto(b"hello", (address, 9))
        return there.recv(10) == b"hello"


def test_packets_pass_as_soon_as_hosts_are_linked(network: Network) -> None:
    one, two = network.host("one"), network.host("two")
    network.link(one, two, ["2001:db8::1/64"], ["2001:db8::2/64"])
    assert reaches(one, two, "2001:db8::2")
    assert reaches(two, one, "2001:db8::1")


def test_devices_are_called_by_the_far_end_as_far_as_that_fits(network: Network) -> None:
    one, two = network.host("one"), network.host("a-name-too-long-for-it")
    network.link(one, two, mtu=1300)
    assert one.sysctl("net.ipv6.conf.to-a-name-too-l.mtu") == "1300"
    assert two.sysctl("net.ipv6.conf.to-one.mtu") == "1300"


def test_hosts_are_found_by_name_and_each_has_its_namespace(network: Network) -> None:
    hosts = [network.host(name) for name in ("one", "two")]
    assert network.hosts == {"one": hosts[0], "two": hosts[1]}
    assert len({os.fstat(host.namespace).st_ino for host in hosts}) == 2


def test_an_error_in_the_block_takes_all_away_too() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KeyError), Network() as network:
        network.link(network.host("one"), network.hosts["two"])
    assert os.listdir("/proc/self/fd") == before
