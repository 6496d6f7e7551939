"""Heads as they go on, to the server and to the client."""

from __future__ import annotations

import pytest

from faith.proxy import forwarded_heads, http_head
from faith.proxy.body_framing import Chunked, KnownLength
from faith.proxy.http_head import Field, Request, Response
from faith.proxy.proxy_events import Target
from faith.proxy.request_target import Asked

SERVER = Target("example.org", 8080, False)
WEBSOCKET = (
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"WebSocket"),
    (b"Sec-WebSocket-Key", b"x"),
)


def request(*fields: Field, method: bytes = b"GET", minor: int = 1) -> Request:
    return Request(method, b"http://example.org:8080/a?b", minor, fields)


def sent(asked: Request, *, chunked: bool = False, hops: int | None = None) -> Request:
    """*asked* as the server reads it."""
    head = forwarded_heads.request_head(
        asked, Asked(SERVER, b"/a?b"), "faith", chunked=chunked, max_forwards=hops
    )
    return http_head.request(head)


def answered(response: Response, *, chunked: bool = False, closes: bool = False) -> Response:
    """*response* as the client reads it."""
    head = forwarded_heads.response_head(response, "faith", chunked=chunked, closes=closes)
    return http_head.response(head)


def test_a_request_in_origin_form() -> None:
    assert sent(request((b"host", b"other"), (b"Accept", b"x"), (b"Content-Length", b"5"))) == (
        b"GET",
        b"/a?b",
        1,
        (
            (b"Host", b"example.org:8080"),
            (b"Accept", b"x"),
            (b"Content-Length", b"5"),
            (b"Via", b"1.1 faith"),
        ),
    )


def test_what_is_for_the_proxy_stays_there() -> None:
    fields = (
        (b"Proxy-Authorization", b"Basic x"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Keep-Alive", b"5"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"TE", b"gzip"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"x"),
    )
    found = sent(request((b"Host", b"a"), *fields), chunked=True)
    assert found.fields == (
        (b"Host", b"example.org:8080"),
        (b"HTTP2-Settings", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Via", b"1.1 faith"),
    )


def test_a_client_of_http_10_expects_nothing() -> None:
    found = sent(request((b"Expect", b"100-continue"), (b"TE", b"trailers"), minor=0))
    assert found.fields == ((b"Host", b"example.org:8080"), (b"Via", b"1.0 faith"))
    assert (b"Expect", b"100-continue") in sent(request((b"Expect", b"100-continue"))).fields


def test_trailers_are_welcome() -> None:
    fields = sent(request((b"TE", b"gzip, Trailers"))).fields
    assert fields[1:3] == ((b"TE", b"trailers"), (b"Connection", b"TE"))


def test_a_hop_is_counted() -> None:
    fields = ((b"Max-Forwards", b"5"),)
    assert (b"Max-Forwards", b"4") in sent(request(*fields, method=b"TRACE"), hops=4).fields
    assert (b"Max-Forwards", b"5") in sent(request(*fields)).fields


def test_a_websocket_is_asked_for() -> None:
    fields = sent(request(*WEBSOCKET)).fields
    assert (b"Upgrade", b"websocket") in fields
    assert (b"Connection", b"Upgrade") in fields


@pytest.mark.parametrize(
    "asked",
    [
        request(*WEBSOCKET[1:]),
        request(*WEBSOCKET, (b"Upgrade", b"h2c")),
        request(WEBSOCKET[0], (b"Upgrade", b"h2c")),
        request(*WEBSOCKET, method=b"POST"),
        request(*WEBSOCKET, minor=0),
    ],
)
def test_nothing_else_is_switched_to(asked: Request) -> None:
    assert not forwarded_heads.upgrades(asked)
    assert not any(name in (b"Upgrade", b"Connection") for name, _ in sent(asked).fields)


def test_a_response() -> None:
    fields = (
        (b"Content-Length", b"5"),
        (b"Connection", b"close, x-hop"),
        (b"X-Hop", b"1"),
        (b"Via", b"1.0 fred"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
        (b"Proxy-Authenticate", b"Basic"),
    )
    assert answered(Response(200, b"All right", 0, fields)) == (
        200,
        b"All right",
        1,
        (
            (b"Content-Length", b"5"),
            (b"Via", b"1.0 fred"),
            (b"Set-Cookie", b"a"),
            (b"Set-Cookie", b"b"),
            (b"Via", b"1.0 faith"),
        ),
    )


def test_how_a_response_ends() -> None:
    found = answered(Response(200, b"", 1, ()), chunked=True, closes=True)
    assert found.fields == (
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Via", b"1.1 faith"),
    )


@pytest.mark.parametrize("status", [100, 204])
def test_what_has_no_content_has_no_length(status: int) -> None:
    found = answered(Response(status, b"", 1, ((b"Content-Length", b"5"), (b"A", b"b"))))
    assert dict(found.fields).keys() - {b"Via"} == {b"A"}


def test_protocols_are_switched() -> None:
    fields = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    found = answered(Response(101, b"Switching", 1, fields))
    assert sorted(found.fields) == sorted(fields)


def test_which_bodies_are_in_chunks() -> None:
    assert forwarded_heads.is_chunked(Chunked())
    assert not forwarded_heads.is_chunked(Chunked(bare=True))
    assert not forwarded_heads.is_chunked(KnownLength(5))
