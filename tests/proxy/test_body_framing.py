"""Where bodies end (RFC 9112 §6.3, §7.1)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faith.proxy import body_framing
from faith.proxy.body_framing import Body, Chunked, KnownLength, UntilClose
from faith.proxy.http_head import LIMIT, BadMessage, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = b"Content-Length", b"5"
CHUNKED = b"Transfer-Encoding", b"Chunked"


def fed(body: Body, octets: bytes) -> tuple[bytes, bytes]:
    """What is sent on of *octets*, and what is left of them."""
    buffer = bytearray(octets)
    return body.feed(buffer), bytes(buffer)


def kind(body: Body) -> list[object]:
    return body.state()


@pytest.mark.parametrize(
    ("fields", "state"),
    [((), ["length", 0]), ((LENGTH,), ["length", 5]), ((CHUNKED,), ["chunked", False, "size", 0])],
)
def test_of_a_request(fields: tuple[Field, ...], state: list[object]) -> None:
    assert kind(body_framing.of_request(fields, 1)) == state


def test_a_request_with_two_framings_is_refused() -> None:
    with pytest.raises(BadMessage, match="both"):
        body_framing.of_request((LENGTH, CHUNKED), 1)
    with pytest.raises(BadMessage, match=r"HTTP/1\.0"):
        body_framing.of_request((CHUNKED,), 0)


@pytest.mark.parametrize(
    ("fields", "is_empty", "bare", "state"),
    [
        ((), False, False, ["close"]),
        ((), True, False, ["length", 0]),
        ((LENGTH,), True, False, ["length", 0]),
        ((CHUNKED,), True, False, ["length", 0]),
        ((LENGTH,), False, False, ["length", 5]),
        ((CHUNKED,), False, True, ["chunked", True, "size", 0]),
    ],
)
def test_of_a_response(
    fields: tuple[Field, ...], is_empty: bool, bare: bool, state: list[object]
) -> None:
    found = body_framing.of_response(fields, 1, is_empty=is_empty, bare=bare)
    assert kind(found) == state


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_response_with_two_framings_is_refused(is_empty: bool) -> None:
    with pytest.raises(BadMessage):
        body_framing.of_response((LENGTH, CHUNKED), 1, is_empty=is_empty, bare=False)
    with pytest.raises(BadMessage):
        body_framing.of_response((CHUNKED,), 0, is_empty=is_empty, bare=False)


def test_a_known_length() -> None:
    body = KnownLength(5)
    assert fed(body, b"abc") == (b"abc", b"")
    assert body.movable == 2
    body.moved(1)
    assert fed(body, b"efg") == (b"e", b"fg")
    assert body.over


def test_until_the_connection_closes() -> None:
    body = UntilClose()
    assert fed(body, b"abc") == (b"abc", b"")
    assert body_framing.restored(body.state()).state() == body.state()
    body.moved(1000)
    assert body.movable == body_framing.UNBOUNDED
    assert not body.over


def test_chunks_are_framed_anew() -> None:
    body = Chunked()
    octets = (
        b'0005 ; a="b;c" \r\nhello\r\nA\r\n0123456789\r\n000;x\r\nA: b\r\nHost: evil\r\n\r\nnext'
    )
    assert fed(body, octets) == (b"5\r\nhello\r\na\r\n0123456789\r\n0\r\nA: b\r\n\r\n", b"next")
    assert body.over


def test_a_peer_of_http_10_has_the_content_alone() -> None:
    assert fed(Chunked(bare=True), b"5\r\nhello\r\n0\r\nA: b\r\n\r\n") == (b"hello", b"")


def test_the_inside_of_a_chunk_may_be_moved() -> None:
    body = Chunked()
    assert fed(body, b"a\r\n0123") == (b"a\r\n0123", b"")
    assert body.movable == 6
    body.moved(4)
    body.moved(2)
    assert body.movable == 0
    assert fed(body, b"\r\n0\r\n\r\n") == (b"\r\n0\r\n\r\n", b"")


def feed_all(body: Body, buffer: bytearray) -> Iterator[bytes]:
    while octets := body.feed(buffer):
        yield octets


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"5\nhello",
        b"5\rhello\r\n",
        b"5 hello\r\n",
        b" 5\r\n",
        b"0x5\r\n",
        b"+5\r\n",
        b"-5\r\n",
        b"5_0\r\n",
        b";a\r\n",
        b"g\r\n",
        b"5;a\nb\r\n",
        b"5;a\rb\r\n",
        b"5;\0\r\n",
        b"5;" + b"a" * 1024,
        b"1" * 17 + b"\r\n",
        b"7fffffffffffffff\r\n",
        b"5\r\nhelloX",
        b"5\r\nhello\n",
        b"5\r\nhello\r5",
        b"5\r\nhello0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\r\n c\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\nA: " + b"b" * LIMIT,
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_bad_chunks(octets: bytes, bare: bool) -> None:
    body, buffer = Chunked(bare=bare), bytearray(octets)
    with pytest.raises(BadMessage):
        [*feed_all(body, buffer)]


def test_what_is_good_before_what_is_bad_is_sent_on() -> None:
    body, buffer = Chunked(), bytearray(b"5\r\nhello\r\n0\r\nA\r\n\r\n")
    assert body.feed(buffer) == b"5\r\nhello\r\n"
    for _ in range(2):
        with pytest.raises(BadMessage):
            body.feed(buffer)


PARTS = [
    b"5\r\nhello\r\n",
    b"0\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"\r\n",
    b"a;x=y\r\n0123456789\r\n",
    b"\n",
    b"1000\r\n",
]


def outcome(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes | str, bool]:
    """What comes of *pieces*, with another process for each, and what is left or wrong."""
    buffer, out = bytearray(), b""
    for piece in pieces:
        body = body_framing.restored(json.loads(json.dumps(body.state())))
        buffer += piece
        try:
            for octets in feed_all(body, buffer):
                out += octets
        except BadMessage as error:
            return out, str(error), False
        assert body.over or len(buffer) < LIMIT
    return out, bytes(buffer), body.over


@given(
    st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=4)), max_size=8).map(b"".join),
    st.sampled_from([["chunked", False, "size", 0], ["chunked", True, "size", 0], ["length", 9]]),
    st.lists(st.integers(0, 200), max_size=6),
)
@settings(max_examples=400)
def test_any_cut_comes_to_the_same(octets: bytes, state: list[object], places: list[int]) -> None:
    bounds = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    pieces = [octets[start:end] for start, end in pairwise(bounds)]
    whole = outcome(body_framing.restored(state), [octets])
    assert outcome(body_framing.restored(state), pieces) == whole


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_what_is_sent_on_is_read_as_it_was_meant(chunks: list[bytes]) -> None:
    octets = b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    sent, left = fed(Chunked(), octets + b"GET")
    assert left == b"GET"
    assert fed(Chunked(bare=True), sent) == (b"".join(chunks), b"")
