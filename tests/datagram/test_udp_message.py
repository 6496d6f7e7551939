from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import holds, pseudo_v6
from faith.datagram.packet import UDP, read_v4, read_v6
from faith.datagram.udp.message import datagram, whole
from faith.kernel.sockets.udp_sockets import Arrival

HOP = struct.pack("=i", 1)
CLASS_V6, CLASS_V4 = struct.pack("=i", 0xB9), b"\xb9"
SOCKADDR_V6 = bytes([0, 0, 0, 9]) + bytes(4) + b"\x20\x01" + bytes(14) + bytes(4)
SOCKADDR_V4 = bytes([0, 0, 0, 9, 192, 0, 2, 2]) + bytes(8)
PORTS = st.integers(1, 65535)


@given(st.integers(0, 2**128 - 1), PORTS, st.integers(0, 2**128 - 1), PORTS, st.binary())
def test_a_datagram_has_a_right_checksum_that_is_never_zero(
    source: int, source_port: int, to: int, port: int, payload: bytes
) -> None:
    octets = b"".join(datagram((source, source_port), (to, port), payload))
    assert struct.unpack("!HHH", octets[:6]) == (source_port, port, 8 + len(payload))
    assert octets[6:8] != b"\0\0"
    assert octets[8:] == payload
    assert holds(octets, pseudo_v6(source, to, len(octets), UDP))


def test_what_sums_up_to_nothing_is_sent_as_all_ones() -> None:
    octets = b"".join(datagram((0, 1), (0, 0xFFFF - 1 - 10 - 10 - UDP), b"\0\0"))
    assert octets[6:8] == b"\xff\xff"


def test_packets_are_made_again_for_quotes() -> None:
    arrival = Arrival(b"hello", ("2001:db8::1", 7, 0, 0), SOCKADDR_V6, HOP + CLASS_V6)
    packet = read_v6(whole(icmp.V6, arrival))
    assert packet
    assert (packet.hops, packet.traffic_class) == (1, 0xB9)
    assert (packet.protocol, packet.length) == (UDP, 13)
    assert packet.payload[:4] == bytes([0, 7, 0, 9])
    arrival = Arrival(b"hello", ("192.0.2.1", 7), SOCKADDR_V4, HOP + CLASS_V4)
    packet = read_v4(whole(icmp.V4, arrival))
    assert packet
    assert (packet.source, packet.destination) == (0xC0000201, 0xC0000202)
    assert (packet.hops, packet.traffic_class) == (1, 0xB9)
    assert packet.payload[8:] == b"hello"
