"""ICMP out and in by raw sockets: what was asked for is what arrives."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.datagram import icmp
from faith.datagram.packet import ICMP, ICMPV6
from faith.datagram.raw_icmp import BATCH, RawIcmp, received
from faith.datagram.send import Send
from faith.kernel.netlink import routes
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket
from faith.kernel.sockets.udp_sockets import piece_sender
from faith.translation.address import packed6
from faith.translation.prefix import Prefix
from tests.datagram.wires import number
from tests.netns.test_v6_sender import ETHER_IPV6, packets_on

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::1"
ECHO_V6 = icmp.echo(icmp.ECHO_V6, 5, 6, b"hello")
ECHO_V4 = icmp.echo(icmp.ECHO_V4, 5, 6, b"hello")


class Both:
    """A `RawIcmp` that hears its own echo requests, and its sockets."""

    def __init__(self) -> None:
        self.v4, self.v6 = icmp_socket([icmp.ECHO_V4]), icmpv6_socket([icmp.ECHO_V6])
        self.raw = RawIcmp(self.v4, self.v6)

    def wait(self, sock: _socket.socket) -> None:
        assert select.select([sock], [], [], 5)[0]


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.v4.close()
    made.v6.close()


def test_icmpv6_arrives_with_source_hops_and_class_as_asked(both: Both) -> None:
    routes.reserve(PREFIX)
    both.raw.send(Send(True, number(MAPPED), number("::1"), ECHO_V6, hops=7, traffic_class=0x88))
    both.wait(both.v6)
    (packet,) = both.raw.packets_v6()
    assert (packet.source, packet.destination) == (number(MAPPED), number("::1"))
    assert (packet.hops, packet.traffic_class, packet.protocol) == (7, 0x88, ICMPV6)
    assert packet.whole
    heard = icmp.read(packet.payload)
    assert heard
    assert (heard.identifier, heard.sequence, heard.body) == (5, 6, b"hello")
    assert packet.payload[2:4] != b"\0\0"  # the kernel has written the checksum


def test_icmp_arrives_with_source_hops_and_class_as_asked(both: Both) -> None:
    both.raw.send(Send(False, number("127.0.0.9"), number("127.0.0.1"), ECHO_V4, 7, 0x88))
    both.wait(both.v4)
    (packet,) = both.raw.packets_v4()
    assert (packet.source, packet.destination) == (number("127.0.0.9"), number("127.0.0.1"))
    assert (packet.hops, packet.traffic_class, packet.protocol) == (7, 0x88, ICMP)
    assert packet.payload == ECHO_V4


def test_what_is_not_asked_for_is_the_kernels_choice(both: Both) -> None:
    both.raw.send(Send(True, None, number("::1"), ECHO_V6))
    both.raw.send(Send(False, None, number("127.0.0.1"), ECHO_V4))
    both.wait(both.v6)
    both.wait(both.v4)
    (packet,) = both.raw.packets_v6()
    assert (packet.source, packet.hops, packet.traffic_class) == (number("::1"), 64, 0)
    (four,) = both.raw.packets_v4()
    assert (four.source, four.hops, four.traffic_class) == (number("127.0.0.1"), 64, 0)


def test_a_batch_leaves_the_rest_for_the_next_turn(both: Both) -> None:
    for _ in range(BATCH + 3):
        both.raw.send(Send(False, None, number("127.0.0.1"), ECHO_V4))
    both.wait(both.v4)
    assert [len([*both.raw.packets_v4()]) for _ in range(3)] == [BATCH, 3, 0]


def test_an_attempt_that_fails_is_no_error_but_sending_is(both: Both) -> None:
    nowhere = Send(False, None, number("192.0.2.80"), ECHO_V4)
    with pytest.raises(OSError, match="unreachable"):
        both.raw.send(nowhere)
    both.raw.attempt(nowhere)
    both.raw.attempt(None)
    both.raw.attempt(Send(False, None, number("127.0.0.1"), ECHO_V4))
    both.wait(both.v4)
    assert len([*both.raw.packets_v4()]) == 1


@pytest.mark.parametrize("length", [0, 1231, 1232, 1233, 1401, 4000, 65000])
def test_what_does_not_fit_the_mtu_is_sent_in_fragments(both: Both, length: int) -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    routes.reserve(PREFIX)
    echo = icmp.echo(icmp.ECHO_V6, 5, 6, os.urandom(length))
    pieces = piece_sender()
    raw = RawIcmp(both.v4, both.v6, pieces=pieces, mtu=1280)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHER_IPV6)) as wire:
        wire.setblocking(False)
        raw.send(Send(True, number(MAPPED), number("::1"), echo, hops=7, traffic_class=0x88))
        both.wait(both.v6)
        (packet,) = both.raw.packets_v6()  # the kernel has put it together, and checked its sum
        ours = packed6(number(MAPPED))  # the kernel answers, too
        lengths = [len(octets) for octets in packets_on(wire) if octets[8:24] == ours]
    assert max(lengths) <= 1280
    assert (len(lengths) == 1) == (length <= 1232)
    assert (packet.source, packet.hops, packet.traffic_class) == (number(MAPPED), 7, 0x88)
    assert packet.payload[4:] == echo[4:]
    pieces.close()


def test_an_error_about_what_was_sent_hides_nothing_that_has_come() -> None:
    refused = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    answers: Iterator[bytes | OSError] = iter([b"one", refused, b"two", BlockingIOError()])

    def receive() -> bytes:
        answer = next(answers)
        if isinstance(answer, bytes):
            return answer
        raise answer

    assert [*received(receive)] == [b"one", b"two"]
