from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram.checksum import adjusted, checksum, holds, ones_sum, pseudo_v6

EXAMPLE = bytes.fromhex("0001f203f4f5f6f7")  # RFC 1071 §3
even = st.binary(max_size=200).map(lambda octets: octets[: len(octets) // 2 * 2])


def folded(octets: bytes) -> int:
    """As RFC 1071 describes it, word by word."""
    total = 0
    for at in range(0, len(octets), 2):
        total += int.from_bytes(octets[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_example_of_the_rfc() -> None:
    assert ones_sum(EXAMPLE) == 0xDDF2
    assert checksum(EXAMPLE) == 0x220D


@given(st.binary(max_size=200))
def test_it_is_the_sum_of_the_words(octets: bytes) -> None:
    assert ones_sum(octets) == folded(octets) % 0xFFFF


@given(even, st.integers(0, 0xFFFF))
def test_what_has_it_holds(octets: bytes, pseudo: int) -> None:
    whole = checksum(octets, pseudo).to_bytes(2, "big") + octets
    assert holds(whole, pseudo)


@given(even, st.integers(0, 7), st.integers(0, 199))
def test_a_wrong_bit_shows(octets: bytes, bit: int, place: int) -> None:
    whole = bytearray(checksum(octets).to_bytes(2, "big") + octets)
    whole[place % len(whole)] ^= 1 << bit
    assert not holds(bytes(whole))


@given(even, even, even)
def test_a_part_can_be_exchanged_by_its_sum(kept: bytes, old: bytes, new: bytes) -> None:
    told = adjusted(checksum(kept + old), ones_sum(old), ones_sum(new))
    assert holds(told.to_bytes(2, "big") + kept + new)


@pytest.mark.parametrize("length", [8, 64, 65535])
def test_the_pseudo_header_is_summed_as_octets_are(length: int) -> None:
    source, to = 0x20010DB8 << 96 | 7, 0x20010DB8FFFF << 80 | 9
    octets = source.to_bytes(16, "big") + to.to_bytes(16, "big")
    octets += length.to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert pseudo_v6(source, to, length, 58) == ones_sum(octets)
