"""The sockets of the kernel path: what they send, and their state for the next process."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import holds
from faith.errors import PermissionNeeded
from faith.kernel.descriptor import descriptors
from faith.kernel.sockets.flow_sockets import FlowSockets
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


@pytest.fixture
def sockets() -> Iterator[FlowSockets]:
    made = FlowSockets.create()
    yield made
    made.close()


def test_a_packet_of_ipv4_goes_out_with_its_header_and_a_checksum(sockets: FlowSockets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as watch:
        ends = socket.inet_aton("127.0.0.9") + socket.inet_aton("127.0.0.1")
        head = struct.pack("!BBHHHBBH", 0x45, 0xB8, 0, 0, 0, 7, 6, 0) + ends
        sockets.raw_v4.sendto(head + b"twenty octets of TCP", ("127.0.0.1", 0))
        assert select.select([watch], [], [], 5)[0]
        found = watch.recv(100)
    assert holds(found[:20])
    assert found[4:6] != b"\0\0"  # an identification
    assert (found[1], found[8], found[12:20]) == (0xB8, 7, ends)
    assert found[20:] == b"twenty octets of TCP"


def test_a_packet_of_ipv6_goes_out_from_any_address(sockets: FlowSockets) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP) as watch:
        ends = socket.inet_pton(socket.AF_INET6, "2001:db8::99")
        ends += socket.inet_pton(socket.AF_INET6, "::1")
        head = struct.pack("!IHBB", 6 << 28 | 0xB8 << 20, 4, 6, 7) + ends
        sockets.raw_v6.sendto(head + b"four", ("::1", 0, 0, 0))
        assert select.select([watch], [], [], 5)[0]
        found, sender = watch.recvfrom(100)
    assert (found, sender[0]) == (b"four", "2001:db8::99")


def test_nothing_waits_in_them_but_in_the_logs(sockets: FlowSockets) -> None:
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", 1)) != 0
    for each in (sockets.raw_v4, sockets.raw_v6, sockets.icmp_v4, sockets.icmp_v6):
        with pytest.raises(BlockingIOError):
            each.recv(100)


def test_the_next_process_has_them_by_their_state(sockets: FlowSockets) -> None:
    state = sockets.state()
    assert len(descriptors(state)) == 6
    copies = [[os.dup(fd), group] for fd, group in state[:2]] + [os.dup(fd) for fd in state[2:]]
    adopted = FlowSockets.adopt(copies)
    assert (adopted.syns.group, adopted.fallen.group) == (sockets.syns.group, sockets.fallen.group)
    assert adopted.syns.group != adopted.fallen.group
    assert adopted.raw_v6.family == socket.AF_INET6
    adopted.close()


def test_without_the_rights_nothing_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PermissionNeeded):
        without_capabilities(FlowSockets.create)
    assert os.listdir("/proc/self/fd") == before
