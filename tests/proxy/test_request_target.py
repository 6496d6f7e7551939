"""Request targets in their forms (RFC 9112 §3.2)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.proxy.http_head import BadMessage, Request
from faith.proxy.proxy_events import Target
from faith.proxy.request_target import Asked, asked, authority

EXAMPLE = Target("example.org", 80, False)


def of(method: bytes, target: bytes) -> Asked:
    return asked(Request(method, target, 1, ()))


@pytest.mark.parametrize(
    ("target", "server", "path"),
    [
        (b"http://example.org", EXAMPLE, b"/"),
        (b"HTTP://Example.ORG./a?b=c", EXAMPLE, b"/a?b=c"),
        (b"http://example.org?q", EXAMPLE, b"/?q"),
        (b"http://example.org:/x", EXAMPLE, b"/x"),
        (b"http://example.org:080/x", EXAMPLE, b"/x"),
        (b"http://example.org//x", EXAMPLE, b"//x"),
        (b"http://example.org/http://a@b/", EXAMPLE, b"/http://a@b/"),
        (b"http://[2001:db8::1]:8080/", Target("2001:db8::1", 8080, True), b"/"),
        (b"http://192.0.2.1/", Target("192.0.2.1", 80, True), b"/"),
    ],
)
def test_absolute_form(target: bytes, server: Target, path: bytes) -> None:
    assert of(b"GET", target) == Asked(server, path)


@pytest.mark.parametrize(
    ("target", "server"),
    [
        (b"example.org:443", Target("example.org", 443, False)),
        (b"192.0.2.1:443", Target("192.0.2.1", 443, True)),
        (b"[2001:db8::1]:443", Target("2001:db8::1", 443, True)),
    ],
)
def test_authority_form(target: bytes, server: Target) -> None:
    assert of(b"CONNECT", target) == Asked(server, b"")


def test_the_proxy_itself_is_asked() -> None:
    assert of(b"GET", b"/proxy.pac") == Asked(None, b"/proxy.pac")
    assert of(b"OPTIONS", b"*") == Asked(None, b"*")


def test_options_for_a_whole_server() -> None:
    assert of(b"OPTIONS", b"http://example.org:8001") == Asked(
        Target("example.org", 8001, False), b"*"
    )
    assert of(b"OPTIONS", b"http://example.org/").path == b"/"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"GET", b"https://example.org/", 501),
        (b"GET", b"ftp://example.org/", 501),
        (b"GET", b"ws://example.org/", 501),
        (b"GET", b"urn:isbn:0", 501),
        (b"GET", b"javascript:alert(1)", 501),
        (b"GET", b"http:example.org/", 400),
        (b"GET", b"http:/example.org/", 400),
        (b"GET", b"http:///x", 400),
        (b"GET", b"http://user@example.org/", 400),
        (b"GET", b"http://user:secret@example.org/", 400),
        (b"GET", b"http://a@b@example.org/", 400),
        (b"GET", b"http://example.org/#x", 400),
        (b"GET", b"http://example.org:0/", 400),
        (b"GET", b"http://example.org:65536/", 400),
        (b"GET", b"http://example.org:000080/", 400),
        (b"GET", b"http://example.org:80:80/", 400),
        (b"GET", b"http://example.org:8a/", 400),
        (b"GET", b"http://example.org:-1/", 400),
        (b"GET", b"http://exa%6dple.org/", 400),
        (b"GET", b"http://example.org\\@evil.example/", 400),
        (b"GET", b"http://2001:db8::1/", 400),
        (b"GET", b"http://[2001:db8::1/", 400),
        (b"GET", b"http://[::1]x/", 400),
        (b"GET", b"http://0x7f.1/", 400),
        (b"GET", b"example.org", 400),
        (b"GET", b"example.org:443", 501),
        (b"GET", b"*", 400),
        (b"CONNECT", b"example.org", 400),
        (b"CONNECT", b"example.org:", 400),
        (b"CONNECT", b"http://example.org:443", 400),
        (b"CONNECT", b"example.org:443/", 400),
        (b"CONNECT", b"user@example.org:443", 400),
        (b"CONNECT", b"example.org:443:443", 400),
        (b"CONNECT", b"/", 400),
        (b"CONNECT", b"*", 400),
        (b"CONNECT", b":443", 400),
    ],
)
def test_what_no_proxy_is_asked_for(method: bytes, target: bytes, status: int) -> None:
    with pytest.raises(BadMessage) as caught:
        of(method, target)
    assert caught.value.status == status
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "target", "why"),
    [
        (b"GET", b"HTTPS://example.org/", "CONNECT"),
        (b"GET", b"ftp://example.org/", "FTP itself"),
        (b"GET", b"gopher://example.org/", "only http://"),
        (b"GET", b"http://user@example.org/", "user in the URI"),
        (b"CONNECT", b"example.org", "a host and a port"),
        (b"GET", b"http://[::1", "authority"),
        (b"GET", b"http:///", "0 octets"),
    ],
)
def test_a_client_is_told_what_to_ask_for(method: bytes, target: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        of(method, target)


@pytest.mark.parametrize(
    ("server", "value"),
    [
        (EXAMPLE, b"example.org"),
        (Target("example.org", 8080, False), b"example.org:8080"),
        (Target("2001:db8::1", 80, True), b"[2001:db8::1]"),
        (Target("2001:db8::1", 81, True), b"[2001:db8::1]:81"),
    ],
)
def test_the_value_of_host(server: Target, value: bytes) -> None:
    assert authority(server) == value


@given(st.sampled_from([b"GET", b"CONNECT", b"OPTIONS"]), st.binary(max_size=60), st.booleans())
def test_any_target_is_understood_in_one_way_or_refused(
    method: bytes, octets: bytes, with_scheme: bool
) -> None:
    with contextlib.suppress(BadMessage):
        found = of(method, (b"http://" if with_scheme else b"") + octets)
        if found.server and method == b"GET":
            again = b"http://" + authority(found.server) + found.path
            assert of(method, again) == found
