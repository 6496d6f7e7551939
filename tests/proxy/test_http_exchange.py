"""A request and its answer, and what goes to another process of them."""

from __future__ import annotations

import json

import pytest

from faith.proxy import http_exchange
from faith.proxy.body_framing import Body, Chunked, KnownLength, UntilClose
from faith.proxy.http_exchange import INTERIM, Exchange
from faith.proxy.http_head import BadMessage, Field, Response
from faith.proxy.proxy_events import Target
from faith.translation import reasons


def exchange(body: KnownLength | Chunked, answer: Body | None) -> Exchange:
    return Exchange(
        target=Target("example.org", 80, False),
        head=b"GET /\xff HTTP/1.1\r\n\r\n",
        body=body,
        minor=0,
        asks_head=True,
        upgrades=True,
        leaves=True,
        again=True,
        interim=3,
        answer=answer,
        closes=True,
        ends_by_close=True,
    )


@pytest.mark.parametrize("body", [KnownLength(5), Chunked(phase="data", left=3)])
@pytest.mark.parametrize("answer", [None, KnownLength(5), UntilClose(), Chunked(bare=True)])
def test_it_goes_to_another_process(body: KnownLength | Chunked, answer: Body | None) -> None:
    one = exchange(body, answer)
    another = http_exchange.restored(json.loads(json.dumps(one.state())))
    assert another.state() == one.state()
    assert (another.target, another.head) == (one.target, one.head)


def test_when_it_is_whole_and_answered() -> None:
    assert exchange(KnownLength(0), None).is_whole
    assert not exchange(KnownLength(1), None).is_whole
    assert exchange(KnownLength(1), KnownLength(0)).is_answered
    assert not exchange(KnownLength(0), UntilClose()).is_answered
    assert not exchange(KnownLength(0), None).is_answered


DATE = (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT")


def begun(minor: int = 1, *, upgrades: bool = False) -> Exchange:
    target = Target("example.org", 80, False)
    return Exchange(target, b"", KnownLength(0), minor, False, upgrades, minor == 0)


def answer(*fields: Field, status: int = 200) -> Response:
    return Response(status, b"OK", 1, fields)


def test_an_answer_has_the_date_of_the_server_or_that_of_the_proxy() -> None:
    assert DATE[1] in begun().answered(answer(), "faith", (DATE,))
    theirs = begun().answered(answer((b"date", b"theirs")), "faith", (DATE,))
    assert b"date: theirs" in theirs
    assert DATE[1] not in theirs


@pytest.mark.parametrize("minor", [0, 1])
def test_which_answers_end_with_the_connection(minor: int) -> None:
    one = begun(minor)
    head = one.answered(answer((b"Content-Length", b"5")), "faith", ())
    assert (b"Connection: close" in head) == one.leaves == one.ends_by_close == (minor == 0)
    assert one.is_cut_by(reasons.CLOSED) == (minor == 0)
    other = begun(minor)
    assert b"Connection: close" in other.answered(answer(), "faith", ())
    assert other.closes
    assert not other.is_cut_by(reasons.CLOSED)
    assert other.is_cut_by("server reset")


def test_a_server_does_not_ask_for_the_password_of_a_proxy() -> None:
    with pytest.raises(BadMessage):
        begun().answered(answer(status=407), "faith", ())


def test_interim_responses() -> None:
    one = begun()
    for _ in range(INTERIM):
        assert one.interim_head(answer(status=103), "faith").startswith(b"HTTP/1.1 103 ")
    with pytest.raises(BadMessage):
        one.interim_head(answer(status=103), "faith")
    assert begun(0).interim_head(answer(status=100), "faith") == b""
    with pytest.raises(BadMessage):
        begun().interim_head(answer(status=101), "faith")
    assert begun(upgrades=True).interim_head(answer(status=101), "faith")
