"""Addresses and ports as FTP writes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.ftp import notation
from faith.ftp.notation import Endpoint, OtherVersion

if TYPE_CHECKING:
    from collections.abc import Callable

V4 = Endpoint(4, int(IPv4Address("192.0.2.31")), 5282)
V6 = Endpoint(6, int(IPv6Address("2001:db8:2::31")), 5282)

WRITTEN = [
    (notation.read_short, notation.write_short, V4, "192,0,2,31,20,162"),
    (notation.read_extended, notation.write_extended, V4, "|1|192.0.2.31|5282|"),
    (notation.read_extended, notation.write_extended, V6, "|2|2001:db8:2::31|5282|"),
    (notation.read_long, notation.write_long, V4, "4,4,192,0,2,31,2,20,162"),
    (
        notation.read_long,
        notation.write_long,
        V6,
        "6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,49,2,20,162",
    ),
]


@pytest.mark.parametrize(("read", "write", "endpoint", "text"), WRITTEN)
def test_read_and_written(
    read: Callable[[bytes, int], Endpoint],
    write: Callable[[Endpoint], str],
    endpoint: Endpoint,
    text: str,
) -> None:
    assert read(text.encode(), endpoint.version) == endpoint
    assert write(endpoint) == text


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1), st.integers(1, 65535))
def test_what_is_written_is_read(v4: int, v6: int, port: int) -> None:
    old, new = Endpoint(4, v4, port), Endpoint(6, v6, port)
    assert notation.read_short(notation.write_short(old).encode()) == old
    for endpoint in (old, new):
        version = endpoint.version
        assert notation.read_long(notation.write_long(endpoint).encode(), version) == endpoint
        extended = notation.write_extended(endpoint).encode()
        assert notation.read_extended(extended, version) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1,2,3,4,5",
        b"1,2,3,4,5,6,7",
        b"1,2,3,4,5,256",
        b"1,2,3,4,5,-6",
        b"1,2,3,4,5, 6",
        b"1,2,3,4,5,0x6",
        b"1,2,3,4,0,0",
        b"1,2,3,4,5,0006",
        b"1.2.3.4.5.6",
    ],
)
def test_what_is_no_port_argument(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        notation.read_short(text)
    assert raised.type is not OtherVersion


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"|",
        b"|||||",
        b"|2|2001:db8::1|5282",
        b"|2|2001:db8::1|5282||",
        b"|2|2001:db8::1|5282|x",
        b"x|2|2001:db8::1|5282|",
        b"|2|2001:db8::1|0|",
        b"|2|2001:db8::1|65536|",
        b"|2|2001:db8::1|99999999999|",
        b"|2|2001:db8::1|-1|",
        b"|2||5282|",
        b"|2|localhost|5282|",
        b"|2|192.0.2.1|5282|",
        b"|2|fe80::1%eth0|5282|",
        b"|2|2001:db8::\xff|5282|",
    ],
)
def test_what_is_no_eprt_argument(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        notation.read_extended(text, 6)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"6",
        b"6,16",
        b"6,4,192,0,2,31,2,20,162",
        b"6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,49,4,0,0,20,162",
        b"6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,49,1,162",
        b"6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,49,2,0,0",
        b"6,16,32,1,13,184,0,2,0,0,0,0,0,0,0,0,0,300,2,20,162",
    ],
)
def test_what_is_no_lprt_argument(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        notation.read_long(text, 6)


def test_another_version_is_told_from_a_mistake() -> None:
    for text in (b"|1|192.0.2.31|5282|", b"|3|whatever|5282|", b"|||1|"):
        with pytest.raises(OtherVersion):
            notation.read_extended(text, 6)
    for text in (b"4,4,192,0,2,31,2,20,162", b"16,4,1,2,3,4,2,20,162"):
        with pytest.raises(OtherVersion):
            notation.read_long(text, 6)


def test_any_graphic_character_delimits() -> None:
    assert notation.read_extended(b"!2!2001:db8:2::31!5282!", 6) == V6


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (b"227 Entering Passive Mode (192,0,2,31,237,19)\r\n", 60691),
        (b"227 Entering Passive Mode (192,0,2,31,237,19).\r\n", 60691),
        (b"227 Entering Passive Mode 192,0,2,31,237,19\r\n", 60691),
        (b"227 =192,0,2,31,237,19\n", 60691),
        (b"227 Entering Passive Mode (192, 0, 2, 31, 237, 19)\r\n", 60691),
        (b"227 Over 1,000 ports! (192,0,2,31,237,19)\r\n", 60691),
        (b"227 Entering Passive Mode\r\n", None),
        (b"227 (192,0,2,31,237)\r\n", None),
        (b"227 (192,0,2,31,237,19,1)\r\n", None),
        (b"227 (7, 192,0,2,31,237,19)\r\n", None),
        (b"227 (192,0,2,31,237,256)\r\n", None),
        (b"227 (192,0,2,31,0,0)\r\n", None),
        (b"227 (1920,0,2,31,237,19)\r\n", None),
    ],
)
def test_the_port_in_a_227(text: bytes, port: int | None) -> None:
    assert notation.port_of_227(text) == port


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (b"229 Entering Extended Passive Mode (|||60691|)\r\n", 60691),
        (b"229 Entering Extended Passive Mode (!!!60691!).\r\n", 60691),
        (b"229 (see below) (|||60691|)\r\n", 60691),
        (b"229 Entering Extended Passive Mode |||60691|\r\n", None),
        (b"229 (|2||60691|)\r\n", None),
        (b"229 (|||60691!)\r\n", None),
        (b"229 (|||0|)\r\n", None),
        (b"229 (|||65536|)\r\n", None),
        (b"229 (|||123456|)\r\n", None),
    ],
)
def test_the_port_in_a_229(text: bytes, port: int | None) -> None:
    assert notation.port_of_229(text) == port
