"""Heads of HTTP/1.1: what has one reading, and what is refused (RFC 9112)."""

from __future__ import annotations

import contextlib
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faith.proxy import http_head
from faith.proxy.http_head import FIELDS, LIMIT, BadMessage, HeadReader, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = b"Host: example.org\r\n"


def head_of(octets: bytes) -> bytes:
    head = HeadReader(of_requests=True).take(bytearray(octets))
    assert head is not None
    return head


def request(octets: bytes) -> Request:
    return http_head.request(head_of(octets))


def with_field(line: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n"


def test_a_request() -> None:
    octets = b"GET http://a/b HTTP/1.1\r\nHost: a\r\naCCept:\t x , y \t\r\nEmpty:\r\n\r\n"
    assert request(octets) == Request(
        b"GET", b"http://a/b", 1, ((b"Host", b"a"), (b"aCCept", b"x , y"), (b"Empty", b""))
    )


def test_a_response() -> None:
    found = http_head.response(b"HTTP/1.0 404 Not  here\r\nA: \xe9\r\n\r\n")
    assert found == http_head.Response(404, b"Not  here", 0, ((b"A", b"\xe9"),))
    assert http_head.response(b"HTTP/1.1 200\r\n\r\n").phrase == b""
    assert http_head.response(b"HTTP/1.1 999 ?\r\n\r\n").status == 999


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_interim_responses(status: int) -> None:
    head = b"HTTP/1.1 %d Wait\r\nA: b\r\n\r\n" % status
    assert http_head.response(head) == http_head.Response(status, b"Wait", 1, ((b"A", b"b"),))


def test_a_head_is_taken_off_and_no_more() -> None:
    buffer = bytearray(b"\r\n\r\nGET / HTTP/1.0\r\n\r\nGET")
    reader = HeadReader(of_requests=True)
    assert reader.take(buffer) == b"GET / HTTP/1.0\r\n\r\n"
    assert buffer == b"GET"
    assert reader.take(buffer) is None


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (with_field(b"A: b\nC: d"), 400),
        (with_field(b"A: b\rC: d"), 400),
        (with_field(b"A: b\r\r\nC: d"), 400),
        (with_field(b"A: b\0"), 400),
        (with_field(b"A: \x01"), 400),
        (with_field(b"A: \x7f"), 400),
        (with_field(b"A: b\r\n c"), 400),
        (with_field(b"A: b\r\n\tc"), 400),
        (with_field(b" A: b"), 400),
        (with_field(b"A : b"), 400),
        (with_field(b"A\t: b"), 400),
        (with_field(b": b"), 400),
        (with_field(b"A"), 400),
        (with_field(b"A(: b"), 400),
        (with_field(b"\xe9: b"), 400),
        (with_field(b"Host: example.com"), 400),
        (with_field(b"hOST: example.org"), 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
        (with_field(b"Content-Length: 1\r\nContent-Length: 1"), 400),
        (with_field(b"Content-Length: 1\r\ncontent-length: 2"), 400),
        (with_field(b"Content-Length: 1, 1"), 400),
        (with_field(b"Content_Length: 1"), 400),
        (with_field(b"transfer_Encoding: chunked"), 400),
        (with_field(b"Content-Length: +1"), 400),
        (with_field(b"Content-Length: -1"), 400),
        (with_field(b"Content-Length: 1_0"), 400),
        (with_field(b"Content-Length: 0x1"), 400),
        (with_field(b"Content-Length: 1 2"), 400),
        (with_field(b"Content-Length: \xb2"), 400),
        (with_field(b"Content-Length:"), 400),
        (with_field(b"Content-Length: " + b"9" * 19), 400),
        (with_field(b"Content-Length : 1"), 400),
        (with_field(b"Transfer-Encoding: gzip"), 501),
        (with_field(b"Transfer-Encoding: gzip, chunked"), 501),
        (with_field(b"Transfer-Encoding: chunked, chunked"), 400),
        (with_field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400),
        (with_field(b"Transfer-Encoding: Chunked, identity"), 400),
        (with_field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"), 400),
        (with_field(b"Transfer-Encoding: xchunked"), 501),
        (with_field(b"Transfer-Encoding: identity"), 501),
        (with_field(b"Transfer-Encoding:"), 501),
        (with_field(b"Transfer-Encoding: \x0bchunked"), 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
        (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.\r\n\r\n", 400),
        (b"GET / HTTP/11\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (with_field(b"\r\n".join([b"A: b"] * FIELDS)), 431),
        (with_field(b"A: " + b"b" * LIMIT), 431),
        (b"GET /" + b"a" * LIMIT + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_a_request_is_refused(octets: bytes, status: int) -> None:
    with pytest.raises(BadMessage) as caught:
        request(octets)
    assert caught.value.status == status
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "line",
    [b"SSH-2.0-OpenSSH_9.2", b"EHLO example.org", b"GET / HTTP/1.1 ", b"USER", b"GET /\t1 2"],
)
def test_a_line_that_is_of_no_request_is_not_waited_behind(line: bytes) -> None:
    reader, buffer = HeadReader(of_requests=True), bytearray()
    for place in range(len(line) + 1):
        assert reader.take(buffer) is None
        buffer += (line + b"\r")[place : place + 1]
    buffer += b"\n"
    with pytest.raises(BadMessage, match="first line") as caught:
        reader.take(buffer)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    ],
)
def test_a_response_is_refused(head: bytes) -> None:
    with pytest.raises(BadMessage):
        http_head.response(head)


def test_a_cookie_may_have_a_control_character() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\x01\r\n\r\n"
    assert HeadReader(of_requests=False).take(bytearray(head)) == head
    assert http_head.response(head).fields == ((b"Set-Cookie", b"a=\x01"),)


@pytest.mark.parametrize("octets", [b"\0", b"\n", b" \rx"])
@pytest.mark.parametrize("of_requests", [True, False])
def test_the_first_octet_is_looked_at_as_well(octets: bytes, of_requests: bool) -> None:
    with pytest.raises(BadMessage):
        HeadReader(of_requests=of_requests).take(bytearray(octets))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (with_field(b"A: b\r\n c"), "folded"),
        (with_field(b"A: b\r\n\tc"), "folded"),
        (with_field(b"A: b\nc: d"), "does not end in CR and LF"),
        (with_field(b"A: b\rc: d"), "does not end in CR and LF"),
        (with_field(b"A: \x01"), "control character, 0x01"),
        (with_field(b"Transfer-Encoding: gzip"), "other than chunked"),
        (with_field(b"Content-Length: x"), "Content-Length"),
        (with_field(b"A b: c"), "illegal header line"),
        (b"GET /\r\n\r\n", "first line"),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", "Missing mandatory Host"),
        (with_field(b"\r\n".join([b"A: b"] * FIELDS)), f"more than {FIELDS}"),
        (with_field(b"A: " + b"b" * LIMIT), f"longer than {LIMIT}"),
    ],
)
def test_a_client_is_told_what_is_wrong(octets: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        request(octets)


def test_as_many_fields_as_there_may_be() -> None:
    assert len(request(with_field(b"\r\n".join([b"A: b"] * (FIELDS - 1)))).fields) == FIELDS
    assert len(http_head.trailers(b"A: b\r\n" * FIELDS + b"\r\n")) == FIELDS
    with pytest.raises(BadMessage, match=f"more than {FIELDS}"):
        http_head.trailers(b"A: b\r\n" * (FIELDS + 1) + b"\r\n")


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\n", b"GET / \rH", b"G\0", b"GET / HTTP/1.1\r\n "]
)
def test_what_no_head_may_have_is_refused_at_once(octets: bytes) -> None:
    reader = HeadReader(of_requests=True)
    buffer = bytearray()
    for octet in octets[:-1]:
        buffer.append(octet)
        assert reader.take(buffer) is None
    buffer.append(octets[-1])
    with pytest.raises(BadMessage):
        reader.take(buffer)


def test_a_length_is_written_anew() -> None:
    request = http_head.request(with_field(b"Content-Length: 0010"))
    assert (b"Content-Length", b"10") in request.fields
    response = http_head.response(b"HTTP/1.1 200 OK\r\ncontent-length: 0010\r\n\r\n")
    assert response.fields == ((b"content-length", b"10"),)


def test_trailers() -> None:
    assert http_head.trailers(b"A: b \r\nC:\r\n\r\n") == [(b"A", b"b"), (b"C", b"")]
    bad = b"A\r\n\r\n", b"A : b\r\n\r\n", b" A: b\r\n\r\n", b"A: \x0b\r\n\r\n"
    for section in (*bad, b"A: b\r\n" * 300 + b"\r\n"):
        with pytest.raises(BadMessage):
            http_head.trailers(section)


LINES = [
    b"GET / HTTP/1.1\r\n",
    HOST,
    b"A: b\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"Content-Length: 1\r\n",
    b"x" * 40000,
]
octets_of_heads = st.lists(
    st.one_of(st.sampled_from(LINES), st.binary(max_size=8)), max_size=8
).map(b"".join)


def taken(of_requests: bool, pieces: list[bytes]) -> list[bytes | str]:
    """What a reader makes of *pieces*: heads, and what is wrong, which is the last."""
    reader = HeadReader(of_requests=of_requests)
    buffer = bytearray()
    found: list[bytes | str] = []
    for piece in pieces:
        buffer += piece
        try:
            while (head := reader.take(buffer)) is not None:
                found.append(head)
        except BadMessage as error:
            return [*found, f"{error.status} {error}"]
        assert len(buffer) < LIMIT
    return found


@given(octets_of_heads, st.booleans(), st.lists(st.integers(0, 100_000), max_size=6))
@example(b"a" * LIMIT + b"\r\nB: c\r\n", True, [LIMIT])
@example(b"a" * (LIMIT - 2) + b"\r\nB: c\r\n", True, [LIMIT, LIMIT - 1])
@settings(max_examples=300)
def test_any_cut_comes_to_the_same(octets: bytes, of_requests: bool, places: list[int]) -> None:
    bounds = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    pieces = [octets[start:end] for start, end in pairwise(bounds)]
    assert taken(of_requests, pieces) == taken(of_requests, [octets])


@given(octets_of_heads, st.booleans())
def test_any_head_is_read_or_refused(octets: bytes, of_requests: bool) -> None:
    for head in taken(of_requests, [octets, b"\r\n\r\n"]):
        if isinstance(head, bytes):
            with contextlib.suppress(BadMessage):
                (http_head.request if of_requests else http_head.response)(head)
            with contextlib.suppress(BadMessage):
                http_head.trailers(head)


@pytest.fixture
def ten_seconds() -> Iterator[None]:
    """Ten seconds of this process's CPU, and no more."""

    def over(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("ten_seconds")
@pytest.mark.parametrize(
    "line", [b"A:%s\x0b", b"A: b%s\x0c", b"A: b%s\x0bc", b"A:%s\0", b"A:%s\x01", b"%s:", b"A%s: b"]
)
def test_blanks_are_looked_at_once_or_twice(line: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + line % (b" " * 60000) + b"\r\n\r\n"
    with contextlib.suppress(BadMessage):
        taken = HeadReader(of_requests=False).take(bytearray(head))
        assert taken == head
        http_head.response(taken)
    good = b"HTTP/1.1 200 OK\r\nA:" + b" \t" * 30000 + b"\r\n\r\n"
    assert http_head.response(good).fields == ((b"A", b""),)


def test_values_are_found_by_the_name_in_lower_case_in_their_order() -> None:
    fields = ((b"A", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert http_head.values(fields, b"a") == [b"1", b"3"]
    assert http_head.values(fields, b"c") == []
    head = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\n"
    found = http_head.request(head).fields
    assert found[1:] == fields
    assert http_head.values(found, b"a") == [b"1", b"3"]
