"""Datagrams of UDP ASSOCIATE (RFC 1928 §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.proxy import socks_datagram
from faith.proxy.proxy_events import Target
from faith.proxy.socks_datagram import LONGEST_HEADER, BadDatagram, Fragment

IPV4 = b"\x01\xc0\x00\x02\x01\x00\x35"


def parse(octets: bytes) -> tuple[Target, bytes]:
    end = socks_datagram.header_end(octets)
    return socks_datagram.target(octets[:end]), octets[end:]


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (IPV4, Target("192.0.2.1", 53, True)),
        (b"\x04" + bytes(15) + b"\x01\x00\x35", Target("::1", 53, True)),
        (b"\x03\x0bExample.org\x00\x35", Target("example.org", 53, False)),
        (b"\x03\x09192.0.2.1\x00\x35", Target("192.0.2.1", 53, True)),
    ],
)
def test_a_datagram_of_a_client(address: bytes, target: Target) -> None:
    for data in (b"", b"query", b"\0" * 30):
        assert parse(b"\0\0\0" + address + data) == (target, data)
    for end in range(len(address)):
        with pytest.raises(BadDatagram, match="shorter"):
            socks_datagram.header_end(b"\0\0\0" + address[:end])


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "shorter"),
        (b"\0\0\0", "shorter"),
        (b"\0\0\0" + IPV4[:-1], "shorter"),
        (b"\0\0\x01" + IPV4, "fragment"),
        (b"\0\0\x80" + IPV4, "fragment"),
        (b"\0\0\0\x02" + IPV4[1:], "address type 2"),
        (b"\0\0\0" + IPV4[:-2] + b"\0\0", "port 0"),
        (b"\0\0\0\x03\x03a b\0\x35", "name"),
    ],
)
def test_a_datagram_that_is_dropped(octets: bytes, why: str) -> None:
    with pytest.raises(BadDatagram, match=why) as dropped:
        parse(octets)
    assert isinstance(dropped.value, Fragment) == (why == "fragment")


def test_a_header_that_is_not_whole_has_no_target() -> None:
    with pytest.raises(BadDatagram, match="shorter"):
        socks_datagram.target(b"\0\0\0" + IPV4[:-1])


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_a_datagram_for_a_client_is_read_as_it_was_made(host: str) -> None:
    octets = socks_datagram.header(host, 53) + b"answer"
    assert parse(octets) == (Target(host, 53, True), b"answer")


def test_the_longest_header() -> None:
    assert len(socks_datagram.header("2001:db8::1", 53)) == LONGEST_HEADER


@given(st.binary(max_size=40) | st.binary(max_size=300).map(lambda rest: b"\0\0\0\x03" + rest))
def test_any_octets_are_read_or_dropped(octets: bytes) -> None:
    try:
        target, data = parse(octets)
    except BadDatagram:
        return
    assert octets.endswith(data)
    assert 0 < target.port < 65536
