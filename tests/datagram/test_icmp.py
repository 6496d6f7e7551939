from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import holds
from faith.datagram.icmp import Error, Message

NO_ROUTE, PROHIBITED, PORT = Error(1, 0), Error(1, 1), Error(1, 4)


@pytest.mark.parametrize(
    ("kind", "code", "word", "told"),
    [  # RFC 7915 §4.2
        *((3, code, 0, NO_ROUTE) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
        *((3, code, 0, PROHIBITED) for code in (9, 10, 13, 15)),
        (3, 2, 0, Error(4, 1, 6)),
        (3, 3, 0, PORT),
        (3, 4, 1400, Error(2, 0, 1420)),
        (3, 4, 576, Error(2, 0, 1280)),
        (3, 4, 0, Error(2, 0, 1512)),
        (3, 14, 0, None),
        (3, 16, 0, None),
        (11, 0, 0, Error(3, 0)),
        (11, 1, 0, Error(3, 1)),
        (12, 0, 8 << 24, Error(4, 0, 7)),
        (12, 2, 3 << 24, Error(4, 0, 4)),
        (12, 0, 19 << 24, Error(4, 0, 24)),
        (12, 0, 4 << 24, None),
        (12, 1, 0, None),
        *((kind, 0, 0, None) for kind in (0, 4, 5, 6, 8, 9, 13, 17, 250)),
    ],
)
def test_icmp_becomes_icmpv6(kind: int, code: int, word: int, told: Error | None) -> None:
    assert icmp.to_v6(Message(kind, code, word, b""), 1500) == told


@pytest.mark.parametrize(
    ("kind", "code", "word", "told"),
    [  # RFC 7915 §5.2
        *((1, code, 0, Error(3, 1)) for code in (0, 2, 3)),
        (1, 1, 0, Error(3, 10)),
        (1, 4, 0, Error(3, 3)),
        (1, 5, 0, None),
        (2, 0, 1280, Error(3, 4, 1260)),
        (2, 0, 1 << 31, Error(3, 4, 0xFFFF)),
        (3, 0, 0, Error(11, 0)),
        (3, 1, 0, Error(11, 1)),
        (4, 0, 7, Error(12, 0, 8 << 24)),
        (4, 0, 30, Error(12, 0, 16 << 24)),
        (4, 0, 2, None),
        (4, 0, 48, None),
        (4, 1, 6, Error(3, 2)),
        (4, 2, 0, None),
        (128, 0, 0, None),
        (255, 0, 0, None),
    ],
)
def test_icmpv6_becomes_icmp(kind: int, code: int, word: int, told: Error | None) -> None:
    assert icmp.to_v4(Message(kind, code, word, b"")) == told


@pytest.mark.parametrize(("total", "mtu"), [(1500, 1512), (9000, 8186), (1300, 1300), (600, 1300)])
def test_a_router_without_a_word_of_mtu_means_the_next_plateau(total: int, mtu: int) -> None:
    assert icmp.to_v6(Message(3, 4, 0, b""), total) == Error(2, 0, mtu)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, (1 << 32) - 1))
def test_whatever_comes_is_an_error_or_nothing(kind: int, code: int, word: int) -> None:
    there = icmp.to_v6(Message(kind, code, word, b""), 1500)
    back = icmp.to_v4(Message(kind, code, word, b""))
    assert there is None or there.kind in icmp.ERRORS_V6
    assert back is None or back.kind in icmp.ERRORS_V4
    for error in (there, back):
        if error:
            icmp.write(Message(*error, b""))


@given(
    st.sampled_from((0, 8, 128, 129)),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=100),
    st.integers(0, 0xFFFF),
)
def test_an_echo_is_read_as_it_was_written(
    kind: int, identifier: int, sequence: int, body: bytes, pseudo: int
) -> None:
    octets = icmp.echo(kind, identifier, sequence, body, pseudo)
    message = icmp.read(octets)
    assert holds(octets, pseudo)
    assert message
    assert (message.kind, message.identifier, message.sequence, message.body) == (
        *(kind, identifier, sequence),
        body,
    )


def test_half_a_header_is_no_message() -> None:
    assert icmp.read(b"\x08\x00\x00\x00\x00\x00\x00") is None


def test_extensions_are_not_taken_for_the_packet() -> None:
    packet, extension = bytes(range(128)), b"\x20\x00 an object"
    assert icmp.original_v4(Message(11, 0, 32 << 16, packet + extension)) == packet
    assert icmp.original_v6(Message(3, 0, 16 << 24, packet + extension)) == packet
    assert icmp.original_v4(Message(11, 0, 0, packet + extension)) == packet + extension
    assert icmp.original_v6(Message(2, 0, 0x1000 << 16, packet)) == packet
