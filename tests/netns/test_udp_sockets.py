"""UDP sockets as the kernel has them: what they tell of a datagram, and as whom they send."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.datagram.udp.message import datagram
from faith.errors import PermissionNeeded
from faith.kernel.netlink import routes
from faith.kernel.sockets.packet_info import control
from faith.kernel.sockets.udp_sockets import (
    Arrival,
    arrivals,
    flow_socket,
    header,
    is_own,
    own_address,
    receive,
    receive_answer,
    sender,
    set_fields,
)
from faith.translation.prefix import Prefix
from tests.datagram.wires import number
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

V4, V6 = socket.AF_INET, socket.AF_INET6
PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED, MAPPED4 = "2001:db8:ffff::1", "198.51.100.1"
LOOPBACK: dict[int, str] = {V4: "127.0.0.1", V6: "::1"}
ETHER_IPV4 = 0x0800
DONT_FRAGMENT = 0x40
CLASSES: dict[int, tuple[int, int]] = {
    V4: (socket.IPPROTO_IP, socket.IP_TOS),
    V6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
}
families = pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])


def arrived(sock: _socket.socket) -> Arrival:
    assert select.select([sock], [], [], 5)[0]
    return receive(sock)


@pytest.fixture
def server() -> Iterator[Callable[[int], socket.socket]]:
    """``server(family)`` is an ordinary server on loopback."""
    made: list[socket.socket] = []

    def start(family: int) -> socket.socket:
        made.append(socket.socket(family, socket.SOCK_DGRAM))
        made[-1].bind((LOOPBACK[family], 0))
        made[-1].settimeout(5)
        return made[-1]

    yield start
    for one in made:
        one.close()


class TestArrivals:
    @families
    @pytest.mark.parametrize("traffic_class", [0, 0x88, 0xFF])
    def test_a_datagram_comes_with_its_addresses_hops_and_class(
        self, family: int, traffic_class: int
    ) -> None:
        sock = arrivals(family)
        host, port = sock.getsockname()[:2]
        assert host == LOOPBACK[family]
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            hops = (
                (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
                if family == V6
                else (socket.IPPROTO_IP, socket.IP_TTL)
            )
            client.setsockopt(*hops, 7)
            client.setsockopt(*CLASSES[family], traffic_class)
            client.bind((host, 0))
            client.sendto(b"hello", (host, port))
            found = arrived(sock)
            assert found.sender == client.getsockname()[:2]
        assert (found.payload, found.hops, found.scope) == (b"hello", 7, 0)
        assert found.traffic_class == traffic_class
        assert (found.destination, found.port) == (socket.inet_pton(family, host), port)
        with pytest.raises(BlockingIOError):
            receive(sock)
        sock.close()

    def test_a_link_local_sender_is_told_with_its_interface(self) -> None:
        add = ["ip", "address", "add", "fe80::7/64", "dev", "lo", "nodad"]
        subprocess.run(add, check=True)
        source = ("fe80::7%lo", 99, 0, socket.if_nametoindex("lo"))
        found = Arrival(b"", source, b"", b"")
        assert (found.sender, found.scope) == (("fe80::7", 99), socket.if_nametoindex("lo"))

    @families
    def test_the_missing_right_is_named_and_nothing_stays_open(self, family: int) -> None:
        before = os.listdir("/proc/self/fd")
        for make in (arrivals, sender):
            with pytest.raises(PermissionNeeded, match="CAP_NET_RAW"):
                without_capabilities(lambda make=make: make(family))  # type: ignore[misc]
        assert os.listdir("/proc/self/fd") == before


class TestSender:
    def test_ipv6_from_any_address_and_port_with_hops(
        self, server: Callable[[int], socket.socket]
    ) -> None:
        routes.reserve(PREFIX)
        there, sock = arrivals(V6), sender(V6)
        host, port = there.getsockname()[:2]
        how = control(V6, socket.inet_pton(V6, MAPPED), 9)
        sock.sendmsg([header(53, port, 5), b"hello"], how, 0, (host, 0))
        found = arrived(there)
        assert (found.sender, found.payload, found.hops) == ((MAPPED, 53), b"hello", 9)
        there.close()
        sock.close()

    def test_ipv4_from_any_address_and_port_with_hops(self) -> None:
        local = ["ip", "route", "add", "local", f"{MAPPED4}/32", "dev", "lo"]
        subprocess.run(local, check=True)
        there, sock = arrivals(V4), sender(V4)
        host, port = there.getsockname()
        parts = datagram((number(MAPPED4), 53), (number(host), port), b"hello")
        sock.sendmsg(parts, control(V4, socket.inet_aton(MAPPED4), 9), 0, (host, 0))
        found = arrived(there)
        assert (found.sender, found.payload, found.hops) == ((MAPPED4, 53), b"hello", 9)
        there.close()
        sock.close()

    @families
    def test_hops_are_the_kernels_choice_unless_said(self, family: int) -> None:
        there, sock = arrivals(family), sender(family)
        host, port = there.getsockname()[:2]
        how = control(family, socket.inet_pton(family, host))
        ends = (number(host), 53), (number(host), port)
        sock.sendmsg(datagram(*ends, b"hello"), how, 0, (host, 0))
        assert arrived(there).hops == 64
        there.close()
        sock.close()

    @families
    def test_it_receives_nothing(self, family: int, server: Callable[[int], socket.socket]) -> None:
        sock, there = sender(family), server(family)
        there.sendto(b"hello", there.getsockname())
        assert there.recv(10) == b"hello"  # a copy would have come to the raw socket before
        with pytest.raises(BlockingIOError):
            sock.recv(100)
        sock.close()


def test_a_header_has_ports_length_and_checksum() -> None:
    assert header(53, 1024, 5) == bytes.fromhex("0035 0400 000d 0000")
    assert header(1, 2, 0, 0xABCD) == bytes.fromhex("0001 0002 0008 abcd")


class TestFlowSocket:
    @pytest.mark.parametrize("kind", ["address", "local route"])
    def test_from_an_address_it_has_the_port_that_was_asked_for(self, kind: str) -> None:
        """Of [[source]] on an interface, and of [[map]] or set up by a route."""
        if kind == "address":
            add = ["ip", "address", "add", f"{MAPPED4}/32", "dev", "lo"]
        else:
            add = ["ip", "route", "add", "local", f"{MAPPED4}/32", "dev", "lo"]
        subprocess.run(add, check=True)
        sock = flow_socket(MAPPED4, 5353)
        assert sock.getsockname() == (MAPPED4, 5353)
        sock.close()

    def test_a_privileged_port_becomes_another(self) -> None:
        sock = without_capabilities(lambda: flow_socket("127.0.0.1", 123))
        assert sock.getsockname()[1] >= 1024
        sock.close()

    def test_an_address_that_is_absent_is_an_error(self) -> None:
        with pytest.raises(OSError, match="assign") as caught:
            flow_socket(MAPPED4, 5353)
        assert caught.value.errno == errno.EADDRNOTAVAIL

    @pytest.mark.parametrize("port", [5353, 5354])
    def test_a_port_that_is_taken_becomes_another_like_it(self, port: int) -> None:
        first, second = flow_socket("127.0.0.1", port), flow_socket("127.0.0.1", port)
        host, other = second.getsockname()
        assert host == "127.0.0.1"
        assert first.getsockname()[1] == port != other
        first.close()
        second.close()

    def test_even_or_odd_is_kept_where_it_is_soon_found(self) -> None:
        like = 0
        for port in (1024, 1025) * 10:
            sock = flow_socket(None, port)
            host, found = sock.getsockname()
            assert host == "0.0.0.0"
            like += found % 2 == port % 2
            sock.close()
        assert like >= 15  # each is by a chance of 31 in 32

    def test_nothing_stays_open_of_what_was_tried(self) -> None:
        before = os.listdir("/proc/self/fd")
        for port in range(2000, 2008):
            flow_socket(None, port).close()
        assert os.listdir("/proc/self/fd") == before

    def test_its_packets_may_be_fragmented_on_their_way(self) -> None:
        there, sock, raw = arrivals(V4), flow_socket(None, 4000), sender(V4)
        to = there.getsockname()
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHER_IPV4)) as wire:
            wire.settimeout(5)
            sock.sendto(b"hello", to)
            how = control(V4, socket.inet_aton("127.0.0.1"))
            raw.sendmsg(
                datagram((number("127.0.0.1"), 53), (number(to[0]), to[1]), b""), how, 0, to
            )
            for _ in range(2):
                assert not wire.recv(100)[6] & DONT_FRAGMENT
        for one in (there, sock, raw):
            one.close()

    @pytest.mark.parametrize("traffic_class", [0, 0xB9, 0xE3])
    def test_its_datagrams_have_hops_and_class_as_set(self, traffic_class: int) -> None:
        there, sock = arrivals(V4), flow_socket(None, 4000)
        without_capabilities(lambda: set_fields(sock, 3, traffic_class))
        sock.sendto(b"hello", there.getsockname())
        found = arrived(there)
        assert (found.hops, found.traffic_class) == (3, traffic_class)
        there.close()
        sock.close()

    @pytest.mark.parametrize("traffic_class", [0, 0xB9])
    def test_an_answer_comes_with_its_class(
        self, server: Callable[[int], socket.socket], traffic_class: int
    ) -> None:
        there, sock = server(V4), flow_socket("127.0.0.1", 4000)
        there.setsockopt(*CLASSES[V4], traffic_class)
        there.sendto(b"hello", sock.getsockname())
        assert select.select([sock], [], [], 5)[0]
        assert receive_answer(sock) == (b"hello", there.getsockname(), traffic_class)
        with pytest.raises(BlockingIOError):
            receive_answer(sock)
        sock.close()


def test_our_address_to_another_is_the_routes() -> None:
    assert own_address(number("127.0.0.1")) == number("127.0.0.1")
    assert own_address(number("192.0.2.80")) is None
    add = ["ip", "address", "add", "192.0.2.1/24", "dev", "lo"]
    subprocess.run(add, check=True)
    assert own_address(number("192.0.2.80")) == number("192.0.2.1")


@pytest.mark.parametrize("nonlocal_bind", [0, 1])
def test_an_address_is_own_that_packets_may_come_from(nonlocal_bind: int) -> None:
    Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text(f"{nonlocal_bind}")
    assert not is_own(number("192.0.2.1"))
    for add in (
        ["ip", "address", "add", "192.0.2.1/24", "dev", "lo"],
        ["ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo"],
    ):
        subprocess.run(add, check=True)
    assert is_own(number("192.0.2.1"))
    assert is_own(number("198.51.100.7"))
    assert not is_own(number("192.0.2.2"))
    assert not is_own(number("203.0.113.1"))
