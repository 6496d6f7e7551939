"""Fields that are for the next hop alone (RFC 9110 §7.6.1)."""

from __future__ import annotations

import pytest

from faith.proxy.hop_by_hop import end_to_end, listed, trailing


def test_a_list_goes_over_several_fields() -> None:
    fields = [(b"Connection", b"Close, ,\tfoo "), (b"Foo", b"x"), (b"CONNECTION", b"Bar,")]
    assert listed(fields, b"connection") == [b"close", b"foo", b"bar"]


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    ],
)
def test_what_is_for_this_hop_stays_here(name: bytes) -> None:
    fields = ((name.title(), b"x"), (b"Accept", b"y"))
    assert end_to_end(fields) == [(b"Accept", b"y")]
    assert trailing(fields) == [(b"Accept", b"y")]


def test_so_does_what_connection_names() -> None:
    fields = ((b"Foo", b"1"), (b"Connection", b"foo, BAR"), (b"Bar", b"2"), (b"Foobar", b"3"))
    assert end_to_end(fields) == [(b"Foobar", b"3")]


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Via", b"Cache-Control", b"Max-Forwards"]
)
def test_nobody_has_a_field_removed_that_others_rely_on(name: bytes) -> None:
    fields = ((b"Connection", name), (name, b"1"))
    assert end_to_end(fields) == [(name, b"1")]


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"Cache-Control",
        b"Content-Encoding",
        b"Content-Length",
        b"Content-Range",
        b"Content-Type",
        b"Expect",
        b"Host",
        b"Max-Forwards",
        b"Range",
        b"Set-Cookie",
        b"Trailer",
        b"Via",
    ],
)
def test_a_trailer_changes_nothing_that_was_acted_on(name: bytes) -> None:
    assert trailing([(name, b"1"), (b"Digest", b"2")]) == [(b"Digest", b"2")]
