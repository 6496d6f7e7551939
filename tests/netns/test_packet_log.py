"""Packets logged by a rule of nftables, read one by one from a group of our own."""

from __future__ import annotations

import os
import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from faith.datagram.packet import read_v4
from faith.errors import PermissionNeeded
from faith.kernel.netlink.packet_log import PacketLog
from faith.kernel.nft.expressions import UDP, l4proto, log
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import IP, Chain, Hook, Rule, Table
from tests.datagram.wires import number
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


@contextmanager
def logging(to: PacketLog) -> Iterator[None]:
    """Every UDP datagram that comes in is logged to the group."""
    rule = Rule("", l4proto(UDP) + log(to.group, 1))
    table = Table("test", (), (Chain("log", (rule,), Hook("filter", "input", 0)),), family=IP)
    with Nftables(family=IP) as nft:
        nft.create(table)
        yield


@pytest.fixture
def packets() -> Iterator[PacketLog]:
    made = PacketLog.create()
    yield made
    made.close()


def send(*texts: bytes) -> None:
    """Send them to a port of this host that is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for text in texts:
            sock.sendto(text, sock.getsockname())


def payloads(log: PacketLog, most: int = 10) -> list[bytes]:
    """The payloads of the datagrams that have come, the first of which is waited for."""
    assert select.select([log], [], [], 5)[0]
    read = [read_v4(octets) for octets, _ in log.read(most)]
    return [packet.payload[8:] for packet in read if packet]


def test_packets_come_whole_and_with_their_interface(packets: PacketLog) -> None:
    with logging(packets):
        send(b"x" * 20000)
        assert select.select([packets], [], [], 5)[0]
        ((octets, interface),) = packets.read(10)
    packet = read_v4(octets)
    assert packet
    assert packet.whole
    assert packet.destination == number("127.0.0.1")
    assert packet.payload[8:] == b"x" * 20000
    assert interface == socket.if_nametoindex("lo")


def test_it_reads_as_many_as_are_asked_for_and_does_not_wait(packets: PacketLog) -> None:
    with logging(packets):
        send(b"1", b"2", b"3")
        assert payloads(packets, 2) == [b"1", b"2"]
        assert payloads(packets) == [b"3"]
        assert list(packets.read(10)) == []


def test_each_has_a_group_that_nobody_else_has(packets: PacketLog) -> None:
    other = PacketLog.create()
    assert other.group != packets.group
    with logging(other):
        send(b"1")
        assert payloads(other) == [b"1"]
        assert list(packets.read(10)) == []
    other.close()


def test_a_group_is_free_again_with_the_last_copy(packets: PacketLog) -> None:
    one = PacketLog.create()
    copy = PacketLog.adopt([os.dup(one.fileno()), one.group])
    one.close()
    other = PacketLog.create()
    assert other.group != copy.group
    with logging(copy):
        send(b"1")
        assert payloads(copy) == [b"1"]
    copy.close()
    again = PacketLog.create()
    assert again.group == copy.group
    again.close()
    other.close()


def test_it_goes_on_from_its_descriptor_and_group(packets: PacketLog) -> None:
    again = PacketLog.adopt([os.dup(packets.fileno()), packets.group])
    with logging(again):
        send(b"1")
        assert payloads(again) == [b"1"]
    again.close()


def test_the_missing_right_is_named_and_nothing_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
        without_capabilities(PacketLog.create)
    assert os.listdir("/proc/self/fd") == before


def test_a_queue_that_was_full_is_no_error(packets: PacketLog) -> None:
    """Loops stop looking at a descriptor that has one."""
    with logging(packets):
        send(*[b"x" * 60000] * 200)
        watch = select.poll()
        watch.register(packets, select.POLLIN)
        assert watch.poll(0) == [(packets.fileno(), select.POLLIN)]
        assert 0 < len(payloads(packets, 200)) < 200
        send(b"y")
        assert payloads(packets) == [b"y"]
