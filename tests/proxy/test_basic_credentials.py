"""User and password of the Basic scheme (RFC 7617)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.proxy.basic_credentials import LONGEST, basic


def encoded(octets: bytes) -> bytes:
    return b"Basic " + base64.b64encode(octets)


def test_the_examples_of_the_rfc() -> None:
    assert basic(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == ("Aladdin", b"open sesame")
    assert basic(b"basic dGVzdDoxMjPCow==") == ("test", "123£".encode())


def test_a_password_may_have_colons_and_be_empty() -> None:
    assert basic(encoded(b"me:a:b")) == ("me", b"a:b")
    assert basic(encoded(b"me:")) == ("me", b"")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        b"Basic QWxh*ZGRpbjpvcGVuIHNlc2FtZQ==",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==QQ==",
        encoded(b"no colon"),
        encoded(b"a\nb:x"),
        encoded(b"\xff\xfe:x"),
        encoded(b"me:" + b"x" * LONGEST),
    ],
)
def test_what_is_none(value: bytes) -> None:
    assert basic(value) is None


@given(st.binary(max_size=100))
def test_any_octets_do_no_harm(value: bytes) -> None:
    basic(value)
    basic(b"Basic " + value)
    basic(encoded(value))
