"""A request and its answer, and what goes to another process of them."""

from __future__ import annotations

import json

import pytest

from faith.proxy import http_exchange
from faith.proxy.body_framing import Body, Chunked, KnownLength, UntilClose
from faith.proxy.http_exchange import Exchange
from faith.proxy.proxy_events import Target


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
