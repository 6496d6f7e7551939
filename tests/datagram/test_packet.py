from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram.checksum import checksum
from faith.datagram.packet import (
    ICMP,
    ICMPV6,
    Packet,
    read_v4,
    read_v6,
    segments_left_at,
    write_v4,
    write_v6,
)

CLIENT, MAPPED = 0x20010DB8 << 96 | 2, 0x20010DB8FFFF << 80 | 0xC0000250
V6 = Packet(CLIENT, MAPPED, 64, 0, ICMPV6, 8, b"8 octets")
V4 = Packet(0xC0000201, 0xC0000250, 63, 0, ICMP, 8, b"8 octets")


def packets(bits: int) -> Any:
    octet = st.integers(0, 255)
    return st.builds(
        lambda source, to, hops, tclass, protocol, payload: Packet(
            source, to, hops, tclass, protocol, len(payload), payload
        ),
        *(st.integers(0, (1 << bits) - 1),) * 2,
        octet,
        octet,
        st.sampled_from((ICMP, ICMPV6, 6, 17)),
        st.binary(max_size=100),
    )


@given(packets(128))
def test_an_ipv6_packet_is_read_as_it_was_written(packet: Packet) -> None:
    assert read_v6(write_v6(packet)) == packet


@given(packets(32))
def test_an_ipv4_packet_is_read_as_it_was_written(packet: Packet) -> None:
    assert read_v4(write_v4(packet)) == packet


@given(st.binary(max_size=120))
def test_nothing_is_made_of_anything(octets: bytes) -> None:
    for read in (read_v4, read_v6):
        packet = read(octets)
        assert packet is None or len(packet.payload) <= packet.length


@pytest.mark.parametrize("octets", [write_v4(V4), write_v6(V6)])
def test_the_beginning_of_a_packet_says_how_long_it_was(octets: bytes) -> None:
    packet = (read_v4 if octets[0] >> 4 == 4 else read_v6)(octets[:-3])
    assert packet
    assert packet.length == 8
    assert packet.payload == b"8 oct"
    assert not packet.whole
    assert not (read_v6 if octets[0] >> 4 == 4 else read_v4)(octets)


def test_what_follows_a_packet_is_not_of_it() -> None:
    for octets, read in ((write_v4(V4), read_v4), (write_v6(V6), read_v6)):
        packet = read(octets + b"padding")
        assert packet
        assert packet.whole


def test_ipv4_options_are_passed_over() -> None:
    octets = bytearray(write_v4(V4))
    octets[0], octets[3] = 0x46, octets[3] + 4
    octets[20:20] = b"\x01\x01\x01\x00"
    octets[10:12] = bytes(2)
    octets[10:12] = checksum(bytes(octets[:24])).to_bytes(2, "big")
    packet = read_v4(bytes(octets))
    assert packet
    assert packet.payload == b"8 octets"


def test_an_ipv4_header_must_add_up() -> None:
    octets = bytearray(write_v4(V4))
    octets[8] -= 1
    assert read_v4(bytes(octets)) is None


def test_ipv6_extension_headers_are_passed_over() -> None:
    hop_by_hop = bytes([60, 0, 1, 4, 0, 0, 0, 0])
    destination = bytes([44, 1, 1, 12]) + bytes(12)
    first_fragment = bytes([ICMPV6, 0, 0, 1, 0, 0, 0, 7])
    octets = bytearray(write_v6(V6))
    octets[40:40] = hop_by_hop + destination + first_fragment
    octets[4:6], octets[6] = (40).to_bytes(2, "big"), 0
    packet = read_v6(bytes(octets))
    assert packet == V6
    octets[66] = 0x10  # offset of the fragment
    assert read_v6(bytes(octets)) is None
    assert read_v6(bytes(octets[:62])) is None


ROUTING, OPTIONS, FRAGMENT = 43, 60, 44


@pytest.mark.parametrize(
    ("kinds", "at"),
    [
        ((ROUTING,), 43),
        ((OPTIONS, ROUTING), 51),
        ((FRAGMENT, ROUTING, OPTIONS), 51),
        ((ROUTING, ROUTING), 51),
        ((OPTIONS, FRAGMENT), 0),
        ((), 0),
    ],
)
def test_a_packet_that_has_a_way_to_go_is_none_of_ours(kinds: tuple[int, ...], at: int) -> None:
    """By a routing header: the last one here has a segment left, those before have none."""
    plain = write_v6(V6)
    headers = b"".join(
        bytes([following, 0, 0, 0]) + bytes(4) for following in (*kinds[1:], ICMPV6) if kinds
    )
    length = (len(headers) + 8).to_bytes(2, "big")
    packet = plain[:4] + length + bytes([*kinds, ICMPV6][:1]) + plain[7:40] + headers + plain[40:]
    assert read_v6(packet) == V6
    assert segments_left_at(packet) == 0
    if at:
        packet = packet[:at] + b"\x01" + packet[at + 1 :]
        assert read_v6(packet) is None
        assert segments_left_at(packet) == at


@given(st.binary(min_size=40, max_size=120), st.sampled_from([ROUTING, OPTIONS, FRAGMENT]))
def test_segments_are_looked_for_in_anything(octets: bytes, kind: int) -> None:
    octets = octets[:6] + bytes([kind]) + octets[7:]
    assert segments_left_at(octets) < len(octets)


def test_a_later_ipv4_fragment_is_no_packet() -> None:
    octets = bytearray(write_v4(V4))
    octets[6:8], octets[10:12] = b"\x00\x09", bytes(2)
    octets[10:12] = checksum(bytes(octets[:20])).to_bytes(2, "big")
    assert read_v4(bytes(octets)) is None
