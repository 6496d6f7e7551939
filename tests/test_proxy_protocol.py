"""The PROXY protocol's first bytes, as its specification has them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.translation.proxy_protocol import V1, V2, VERSIONS, header

CLIENT = "2001:db8:6::2", 48866
MAPPED = "2001:db8:ffff::c000:250", 80

ports = st.integers(0, 65535)
endpoints = st.one_of(
    st.tuples(
        st.tuples(st.ip_addresses(v=6).map(str), ports),
        st.tuples(st.ip_addresses(v=6).map(str), ports),
    ),
    st.tuples(
        st.tuples(st.ip_addresses(v=4).map(str), ports),
        st.tuples(st.ip_addresses(v=4).map(str), ports),
    ),
)


def test_the_versions_as_they_are_written() -> None:
    assert VERSIONS == ("v1", "v2")


def test_version_1_is_a_line() -> None:
    assert header(V1, CLIENT, MAPPED) == (
        b"PROXY TCP6 2001:db8:6::2 2001:db8:ffff::c000:250 48866 80\r\n"
    )
    assert header(V1, ("192.0.2.1", 7), ("198.51.100.2", 80)) == (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 7 80\r\n"
    )


def test_version_2_is_binary() -> None:
    assert header(V2, CLIENT, MAPPED) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a 21 21 0024"
        "20010db8000600000000000000000002 20010db8ffff000000000000c0000250 bee2 0050"
    )
    assert header(V2, ("192.0.2.1", 7), ("198.51.100.2", 80)) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a 21 11 000c c0000201 c6336402 0007 0050"
    )


@pytest.mark.parametrize("version", [V1, V2])
def test_an_interface_is_not_told(version: str) -> None:
    assert header(version, ("fe80::1%eth0", 1), MAPPED) == header(version, ("fe80::1", 1), MAPPED)


@given(endpoints)
def test_version_1_fits_the_107_octets_of_the_specification(
    pair: tuple[tuple[str, int], tuple[str, int]],
) -> None:
    told = header(V1, *pair)
    assert len(told) <= 107
    _, _, client, destination, *ports = told.decode().split()
    found = zip((client, destination), ports, strict=True)
    # As numbers: ipaddress writes an IPv4-mapped address without dots before Python 3.13.
    assert [(ip_address(host), int(port)) for host, port in found] == [
        (ip_address(host), port) for host, port in pair
    ]


@given(endpoints)
def test_version_2_reads_as_written(pair: tuple[tuple[str, int], tuple[str, int]]) -> None:
    told = header(V2, *pair)
    family, length = struct.unpack(">xxxxxxxxxxxxxBH", told[:16])
    assert len(told) == 16 + length
    width = {0x11: 4, 0x21: 16}[family]
    ends = [
        str(ip_address(told[16 + width * number : 16 + width * (number + 1)])) for number in (0, 1)
    ]
    assert list(zip(ends, struct.unpack(">HH", told[-4:]), strict=True)) == list(pair)
