"""Segments: SYNs that are verified and translated, and resets as RFC 9293 wants them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram.checksum import holds
from faith.flow import tcp_segment
from faith.flow.tcp_segment import (
    ACK,
    FIN,
    RST,
    SYN,
    clamp,
    end_of_syn,
    header_v4,
    is_partial,
    reset_for,
    segment_of,
    translated_syn,
    with_checksum,
)
from faith.translation.pseudo_header import pseudo_sum
from tests.flow.stand import SERVER, SOURCE, octets, packet_v6, segment

ENDS = octets(SOURCE) + octets(SERVER)


def damaged(packet: bytes, at: int, by: int = 1) -> bytes:
    return packet[:at] + bytes([packet[at] ^ by]) + packet[at + 1 :]


def fields(found: bytes) -> tuple[int, int, int, int, int]:
    """Ports, numbers and flags of a segment."""
    source, to, number, answer, _, flags = struct.unpack_from("!HHIIBB", found)
    return source, to, number, answer, flags


def test_a_whole_syn_ends_where_its_packet_ends() -> None:
    packet = packet_v6()
    assert end_of_syn(packet) == len(packet)
    assert end_of_syn(packet + b"padding of the frame") == len(packet)


@pytest.mark.parametrize("data", [b"", b"x", b"xy", b"odd number"])
def test_a_syn_may_have_data(data: bytes) -> None:
    packet = packet_v6(segment(data=data))
    assert end_of_syn(packet) == len(packet)


@pytest.mark.parametrize("at", [8, 24, 40, 44, 53, 60, 63])
def test_a_damaged_syn_is_not_repaired(at: int) -> None:
    assert end_of_syn(damaged(packet_v6(), at)) == 0


def test_a_syn_whose_checksum_the_hardware_was_to_complete_is_right() -> None:
    packet = packet_v6()
    partial = pseudo_sum(packet[8:40], len(packet) - 40).to_bytes(2, "big")
    unfinished = packet[:56] + partial + packet[58:]
    assert is_partial(unfinished[8:40], unfinished[40:])
    assert end_of_syn(unfinished) == len(packet)
    assert end_of_syn(damaged(unfinished, 40)) == len(packet)  # nobody can know
    assert end_of_syn(damaged(unfinished, 30)) == 0


@pytest.mark.parametrize(
    "packet",
    [
        packet_v6()[:-1],  # cut short
        packet_v6()[:59],
        b"",
        damaged(packet_v6(), 6),  # of another protocol
        damaged(packet_v6(), 0, 0x20),  # of another version
        damaged(packet_v6(), 52, 0x20),  # with a header shorter than a header is
        damaged(packet_v6(), 52, 0x80),  # with one longer than the segment
    ],
)
def test_what_is_no_whole_syn_is_none(packet: bytes) -> None:
    assert end_of_syn(packet) == 0


@given(
    st.binary(max_size=60),
    st.integers(1, 65535),
    st.integers(2, 255),
    st.integers(0, 255),
    st.integers(0, 65535),
)
def test_a_translated_syn_has_right_sums_and_the_rest_as_it_was(
    data: bytes, port: int, hops: int, octet: int, mss: int
) -> None:
    packet = packet_v6(segment(data=data), hops=hops, octet=octet)
    header, found = translated_syn(packet, len(packet), ENDS, port.to_bytes(2, "big"), mss)
    assert holds(found, pseudo_sum(ENDS, len(found)))
    assert found[:2] == port.to_bytes(2, "big")
    assert found[2:16] == packet[42:56]
    assert found[24:] == data
    assert int.from_bytes(found[22:24], "big") == (min(mss, 1440) if mss else 1440)
    version, tos, total, _, _, ttl, protocol = struct.unpack_from("!BBHHHBB", header)
    assert (version, tos, ttl, protocol) == (0x45, octet, hops - 1, 6)
    assert total == 20 + len(found)
    assert header[12:] == ENDS


def test_df_is_set_only_above_1260_octets() -> None:
    assert header_v4(ENDS, 1240)[6] == 0
    assert header_v4(ENDS, 1241)[6] == 0x40


def options(*given: bytes) -> bytearray:
    joined = b"".join(given)
    joined += bytes(-len(joined) % 4)
    return bytearray(bytes(12) + bytes([(20 + len(joined)) << 2]) + bytes(7) + joined)


MSS_1440 = b"\2\4\5\xa0"


@pytest.mark.parametrize(
    "before",
    [[MSS_1440], [b"\1", MSS_1440], [b"\1\1", b"\4\2", MSS_1440], [b"\3\3\7", MSS_1440]],
)
def test_the_mss_is_clamped_wherever_it_stands(before: list[bytes]) -> None:
    syn = options(*before)
    untouched = bytes(syn)
    clamp(syn, 1440)
    assert syn == untouched
    clamp(syn, 1220)
    assert syn == untouched.replace(MSS_1440, b"\2\4\4\xc4")


@pytest.mark.parametrize(
    "given",
    [[], [b"\0", MSS_1440], [b"\5\0", MSS_1440], [b"\x05\x3c", MSS_1440], [b"\1\1\1\2"]],
)
def test_options_that_end_or_are_broken_are_left_alone(given: list[bytes]) -> None:
    syn = options(*given)
    untouched = bytes(syn)
    clamp(syn, 500)
    assert syn == untouched


@given(st.binary(min_size=20, max_size=60), st.integers(88, 65535))
def test_clamping_never_fails_and_touches_the_mss_alone(octets_: bytes, most: int) -> None:
    syn = bytearray(octets_)
    clamp(syn, most)
    assert len(syn) == len(octets_)
    assert sum(a != b for a, b in zip(syn, octets_, strict=True)) <= 2


def test_the_answer_to_a_syn_acknowledges_it() -> None:
    answer = reset_for(segment(data=b"abc"), ENDS)
    assert fields(answer) == (80, 40000, 0, 1000 + 1 + 3, RST | ACK)
    assert holds(answer, pseudo_sum(ENDS, 20))


def test_the_answer_to_an_acknowledgement_has_its_number() -> None:
    answer = reset_for(segment(ACK | FIN, b"abc", answer=77), ENDS)
    assert fields(answer) == (80, 40000, 77, 0, RST)


def test_the_answer_to_a_bare_fin_acknowledges_it_and_numbers_wrap() -> None:
    answer = reset_for(segment(FIN, b"ab", number=0xFFFFFFFE), ENDS)
    assert fields(answer) == (80, 40000, 0, 1, RST | ACK)


@given(st.binary(min_size=20, max_size=99))
def test_a_checksum_that_was_written_holds(some: bytes) -> None:
    assert holds(bytes(with_checksum(bytearray(some), ENDS)), pseudo_sum(ENDS, len(some)))


def test_a_segment_without_data_has_a_header_alone() -> None:
    made = segment_of(ENDS, b"\0\x50\x9c\x40", 5, 6, SYN)
    assert len(made) == tcp_segment.LEAST
    assert fields(made) == (80, 40000, 5, 6, SYN)
