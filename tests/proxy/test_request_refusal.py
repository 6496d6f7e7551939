"""What the rules of a proxy have against a request."""

from __future__ import annotations

import pytest

from faith.proxy.http_head import Request
from faith.proxy.proxy_events import CONNECT, HTTP, Target
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.request_refusal import method_of, refusal
from faith.translation import reasons
from faith.translation.ports import Ports

RULES = ProxyRules(connect_ports=Ports([(443, 443), (8443, 8443)]))


def asks(method: bytes, port: int, *via: bytes, rules: ProxyRules = RULES) -> str | None:
    """The reason why a request for that *port* is refused."""
    request = Request(method, b"", 1, tuple((b"Via", value) for value in via))
    found = refusal(request, Target("192.0.2.80", port, True), rules)
    return None if found is None else found.why


@pytest.mark.parametrize("port", [443, 8443])
def test_the_ports_of_connect_are_open_to_both(port: int) -> None:
    assert asks(b"CONNECT", port) is asks(b"GET", port) is None


@pytest.mark.parametrize("port", [80, 1024, 65535])
def test_other_ports_are_open_to_forwarded_http_alone(port: int) -> None:
    assert asks(b"GET", port) is None
    assert asks(b"CONNECT", port) == reasons.PORT_CLOSED


@pytest.mark.parametrize("port", [22, 25, 1023])
def test_ports_of_other_protocols_are_closed(port: int) -> None:
    assert asks(b"POST", port) == asks(b"CONNECT", port) == reasons.PORT_CLOSED


def test_a_method_that_the_proxy_does_without() -> None:
    for without, method in (CONNECT, b"CONNECT"), (HTTP, b"GET"):
        rules = ProxyRules(methods=RULES.methods - {without})
        assert asks(method, 443, rules=rules) == reasons.NO_METHOD
        assert asks(b"GET" if method == b"CONNECT" else b"CONNECT", 443, rules=rules) is None


def test_a_request_that_has_come_by_here_is_refused() -> None:
    assert asks(b"GET", 80, b"1.1 other, 1.1 faith") == reasons.PROXY_LOOP
    assert asks(b"CONNECT", 443, b"1.1 FAITH") == reasons.PROXY_LOOP
    assert asks(b"GET", 80, b"1.1 other") is None


def test_the_way_of_asking() -> None:
    assert method_of(Request(b"CONNECT", b"", 1, ())) == CONNECT
    assert method_of(Request(b"connect", b"", 1, ())) == HTTP
