"""HTTP, exchange by exchange (RFC 9110, RFC 9112)."""

from __future__ import annotations

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import (
    CONNECT,
    HTTP,
    Dial,
    HangUp,
    Refused,
    Target,
    ToClient,
    ToServer,
    Tunnel,
)
from faith.proxy.proxy_rules import ProxyRules
from faith.translation import reasons

EXAMPLE = Target("example.org", 80, False)
SOURCE = ("192.0.2.1", 40000)
GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: example.org\r\nVia: 1.1 faith\r\n\r\n"


def test_connect() -> None:
    machine = HttpProxy(ProxyRules())
    octets = b"CONNECT Example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\nearly"
    assert machine.from_client(octets) == [Dial(Target("example.org", 443, False), CONNECT)]
    assert not machine.wants_client
    established, tunnel = machine.connected(SOURCE)
    assert isinstance(established, ToClient)
    assert established.data.startswith(b"HTTP/1.1 200 ")
    assert established.data.endswith(b"\r\n\r\n")
    assert tunnel == Tunnel(b"early")


def test_a_request_is_forwarded_and_answered() -> None:
    machine = HttpProxy(ProxyRules())
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]
    assert machine.connected(SOURCE) == [ToServer(SENT)]
    assert machine.from_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") == [
        ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 faith\r\n\r\n"),
        ToClient(b"hello"),
    ]
    assert machine.from_client(GET) == [ToServer(SENT)]


def test_a_client_that_leaves() -> None:
    machine = HttpProxy(ProxyRules())
    assert machine.client_ended() == [HangUp(reasons.CLOSED)]


def test_a_client_that_does_not_ask_in_time() -> None:
    machine = HttpProxy(ProxyRules())
    assert machine.is_idle
    assert machine.from_client(b"GET http://exam") == []
    assert machine.awaits_request
    assert not machine.is_idle
    refused, answer, end = machine.overdue()
    assert refused == Refused(None, reasons.GREETING)
    assert isinstance(answer, ToClient)
    assert answer.data.startswith(b"HTTP/1.1 408 ")
    assert end == HangUp(reasons.GREETING)
    assert machine.overdue() == []


def test_a_client_that_has_nothing_more_to_ask() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(GET)
    assert not machine.awaits_request
    machine.connected(SOURCE)
    assert machine.overdue() == []
    assert not machine.is_idle
    machine.from_server(b"HTTP/1.1 204 Done\r\n\r\n")
    assert machine.is_idle
    assert machine.overdue()[-1] == HangUp(reasons.CLOSED)


def test_the_method_of_what_is_refused() -> None:
    for octets, method in (
        (b"CONNECT example.org:25 HTTP/1.1\r\nHost: example.org\r\n\r\n", CONNECT),
        (b"GET http://example.org:25/ HTTP/1.1\r\nHost: example.org:25\r\n\r\n", HTTP),
    ):
        refused = HttpProxy(ProxyRules()).from_client(octets)[0]
        assert refused == Refused(Target("example.org", 25, False), reasons.PORT_CLOSED, method)
