"""Fragments, put together again, are the packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from faith.datagram.fragments import fragments, room
from faith.datagram.packet import UDP


@given(st.integers(0, 65535), st.integers(1280, 9000))
def test_they_fit_and_are_the_whole(length: int, mtu: int) -> None:
    octets = bytes(number % 251 for number in range(length))
    found = list(fragments(UDP, octets, mtu))
    whole = b""
    for place, one in enumerate(found):
        assert len(one) + 40 <= mtu
        next_header, reserved, offset = one[0], one[1], int.from_bytes(one[2:4], "big")
        assert (next_header, reserved) == (UDP, 0)
        assert offset & ~7 == len(whole)
        assert offset & 7 == (place < len(found) - 1)
        assert one[4:8] == found[0][4:8]
        whole += one[8:]
    assert whole == octets


def test_each_packet_has_an_identification_of_its_own() -> None:
    first, second = (next(fragments(UDP, b"x", 1280))[4:8] for _ in range(2))
    assert first != second


def test_the_room_is_behind_the_header() -> None:
    assert room(1280) == 1240
