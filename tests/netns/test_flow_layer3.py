"""The program of flows at interfaces without a link header, as WireGuard, PPP and tun have them."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.kernel.flow import layout
from tests.netns.flows import PORT, SYN, Segment, Wires, parsed, server_segment, slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
CLIENT = "2001:db8:8::99"
UP = Segment(source=CLIENT, payload=b"from the tunnel")
DOWN = server_segment(port=3002, payload=b"to the tunnel")


@pytest.fixture
def tun(lab: ThreeHosts) -> Iterator[int]:
    """The other end of the gateway's device ``tun``."""
    with lab.gateway.inside():
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun", _IFF_TUN | _IFF_NO_PI))
    lab.gateway.sysctl("net.ipv6.conf.tun.accept_dad", 0)
    lab.gateway.run(["ip", "link", "set", "tun", "up"])
    lab.gateway.run(["ip", "address", "add", "2001:db8:8::1/64", "dev", "tun", "nodad"])
    yield device
    os.close(device)


@pytest.fixture
def wires(lab: ThreeHosts, tun: int) -> Iterator[Wires]:
    with Wires(lab) as wires:
        index = lab.gateway.call(socket.if_nametoindex, "tun")
        wires.enter(2, slot(wires.oif4, index, source_port=3002, client=CLIENT))
        yield wires


def received(tun: int) -> bytes:
    """The next TCP packet that goes out by the tunnel."""
    while select.select([tun], [], [], 5)[0]:
        packet = os.read(tun, 2000)
        if packet[0] >> 4 == 6 and packet[6] == 6:
            return packet
    raise AssertionError("nothing went out")


def test_packets_of_a_tunnel_are_translated_both_ways(wires: Wires, tun: int) -> None:
    os.write(tun, UP.ipv6())
    (up,) = wires.up()
    assert parsed(up) == UP._replace(
        source="192.0.2.9", to="192.0.2.99", source_port=3002, hops=63, fragment=0
    )
    wires.server.send(DOWN.ipv4())
    down = parsed(received(tun))
    assert down == DOWN._replace(source=UP.to, to=CLIENT, port=UP.source_port, hops=63, fragment=0)
    assert wires.maps.counters()["failed"] == 0


def test_a_first_packet_of_a_tunnel_is_tagged(wires: Wires, tun: int) -> None:
    syn = UP._replace(source_port=41000, flags=SYN, payload=b"")
    os.write(tun, syn.ipv6())
    wires.up()
    assert wires.logged(wires.tagged) == [syn.ipv6()]


def test_an_event_has_the_packet_from_its_ip_header_on(wires: Wires, tun: int) -> None:
    packet = UP._replace(hops=1).ipv6()
    os.write(tun, packet)
    wires.up()
    (event,) = wires.maps.events(9)
    assert (event.kind, event.slot, event.packet) == (layout.HOPS6, 2, packet)
    assert PORT == 80
