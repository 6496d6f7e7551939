"""What is sent over IPv6 fits the MTU that was set, and arrives whole."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.datagram.udp.v6_sender import V6Sender
from faith.kernel.netlink import routes
from faith.kernel.sockets.packet_info import control
from faith.kernel.sockets.udp_sockets import piece_sender, sender
from faith.translation.address import V6, number, packed6
from faith.translation.prefix import Prefix
from tests.netns.own_address import add_address

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

ETHER_IPV6 = 0x86DD
MAPPED = "2001:db8:ffff::c000:250"
CLIENT = "2001:db8:6::2"
SOURCE = number(MAPPED), 53
TRAFFIC_CLASS = 0xB9


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A client on an interface whose MTU is 1,500."""
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    add_address(CLIENT)
    routes.reserve(Prefix.parse("2001:db8:ffff::/96"))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind((CLIENT, 0))
        sock.settimeout(5)
        yield sock


@pytest.mark.parametrize("mtu", [1280, 1400, 1500])
@pytest.mark.parametrize("conntrack", [False, True])
def test_no_packet_is_larger_and_every_payload_is_whole(
    client: socket.socket, mtu: int, conntrack: bool
) -> None:
    if conntrack:  # which puts fragments together on their way out
        rules = "table ip6 t { chain c { type filter hook output priority 0; ct state new; }; }"
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    whole, pieces = sender(V6), piece_sender()
    sending = V6Sender(whole, pieces, 1280)
    sending.limit(mtu)
    port = client.getsockname()[1]
    ends = SOURCE, (number(CLIENT), port)
    how = control(V6, packed6(SOURCE[0]), traffic_class=TRAFFIC_CLASS)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHER_IPV6)) as wire:
        wire.setblocking(False)
        for length in (0, 1, 1231, 1232, 1233, 1240, 1352, 1353, 1452, 1453, 4000, 9001):
            payload = os.urandom(length)
            sending.send(payload, *ends, how, (CLIENT, 0))
            assert client.recvfrom(1 << 16) == (payload, (MAPPED, 53, 0, 0))
            packets = packets_on(wire)
            assert {octets[0] << 4 & 0xF0 | octets[1] >> 4 for octets in packets} == {TRAFFIC_CLASS}
            assert max(map(len, packets)) <= mtu
            assert (len(packets) == 1) == (length + 48 <= mtu)
    whole.close()
    pieces.close()


def packets_on(wire: socket.socket) -> list[bytes]:
    """Return the packets that *wire* has seen since it was read last."""
    found: list[bytes] = []
    while True:
        try:
            found.append(wire.recv(1 << 16))
        except BlockingIOError:
            return found


def test_it_receives_nothing() -> None:
    sock = piece_sender()
    with pytest.raises(BlockingIOError):
        sock.recv(100)
    sock.close()
