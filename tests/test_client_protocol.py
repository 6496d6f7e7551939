"""The protocol of a proxy's client: chosen once, and the same in another process."""

from __future__ import annotations

import json

import pytest

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import Dial, HangUp, Refused, Target, ToClient
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5
from faith.relay.proxy.client_protocol import ClientProtocol
from faith.translation import reasons

RULES = ProxyRules()
GET = b"GET http://192.0.2.80/ HTTP/1.1\r\nHost: 192.0.2.80\r\n\r\n"


def test_who_has_said_nothing_may_ask() -> None:
    one = ClientProtocol(RULES)
    assert one.wants_client
    assert one.awaits_request
    assert not one.is_idle
    assert one.state() is None
    assert [*one.client_ended()] == [HangUp(reasons.CLOSED)]
    why = reasons.GREETING
    assert [*one.overdue()] == [Refused(None, why), HangUp(why)]


@pytest.mark.parametrize(
    ("first", "machine"), [(b"\5", Socks5), (b"\4", Socks4), (b"G", HttpProxy), (b"\x16", None)]
)
def test_the_first_octet_chooses(first: bytes, machine: type | None) -> None:
    one = ClientProtocol(RULES)
    events = [*one.from_client(first)]
    if machine is None:
        assert one.machine is None
        assert [type(event) for event in events] == [Refused, HangUp]
    else:
        assert type(one.machine) is machine
        assert events == []


def test_answers_have_the_time() -> None:
    one = ClientProtocol(RULES)
    (answer,) = one.from_client(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(answer, ToClient)
    assert b"\r\nDate: " in answer.data


def test_other_rules_are_for_the_next_request() -> None:
    one = ClientProtocol(RULES)
    one.apply(ProxyRules(methods=frozenset(("socks5",))))
    answer, *_ = one.from_client(GET)
    assert answer == Refused(Target("192.0.2.80", 80, True), reasons.NO_METHOD, "http")
    one.apply(RULES)
    assert [*one.from_client(GET)] == [Dial(Target("192.0.2.80", 80, True), "http")]


@pytest.mark.parametrize("first", [b"\5\1", b"\4\1", GET[:10]])
def test_it_goes_to_another_process(first: bytes) -> None:
    one, another = ClientProtocol(RULES), ClientProtocol(RULES)
    assert [*one.from_client(first)] == []
    another.restore(json.loads(json.dumps(one.state())))
    assert type(another.machine) is type(one.machine)
    assert another.state() == one.state()
    fresh = ClientProtocol(RULES)
    fresh.restore(ClientProtocol(RULES).state())
    assert fresh.machine is None
