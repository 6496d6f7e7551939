"""Addresses of SOCKS5 (RFC 1928 §5)."""

from __future__ import annotations

import pytest

from faith.proxy import socks_address
from faith.proxy.asked_target import BadTarget
from faith.proxy.proxy_events import Target
from faith.proxy.socks_address import UnknownAddressType

IPV4 = b"\x01\xc0\x00\x02\x01\x00\x50"
IPV6 = b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50"
NAME = b"\x03\x0bexample.org\x00\x50"


@pytest.mark.parametrize(
    ("octets", "target"),
    [
        (IPV4, Target("192.0.2.1", 80, True)),
        (IPV6, Target("2001:db8::1", 80, True)),
        (NAME, Target("example.org", 80, False)),
    ],
)
def test_an_address_is_read_when_it_is_whole(octets: bytes, target: Target) -> None:
    assert socks_address.read(b"xyz" + octets + b"more", 3) == (target, 3 + len(octets))
    for end in range(len(octets)):
        assert socks_address.read(octets[:end], 0) is None


def test_another_type_is_told_by_its_first_octet() -> None:
    for kind in (0, 2, 5, 255):
        with pytest.raises(UnknownAddressType, match=f"type {kind} "):
            socks_address.read(bytes((kind,)), 0)


def test_a_name_that_is_none() -> None:
    with pytest.raises(BadTarget):
        socks_address.read(b"\x03\x00\x00\x50", 0)


def test_addresses_are_made_as_they_are_read() -> None:
    assert socks_address.made("192.0.2.1", 80) == IPV4
    assert socks_address.made("2001:db8::1", 80) == IPV6
    assert socks_address.made("::ffff:192.0.2.1", 80) == IPV4
    with pytest.raises(OSError, match="illegal"):
        socks_address.made("example.org", 80)


def test_where_a_name_ends_that_is_none() -> None:
    assert socks_address.end_of_name(b"xyz" + NAME + b"more", 3) == 3 + len(NAME)
    assert socks_address.end_of_name(b"\x03\x00\x00\x50", 0) == 4
