"""Forwarding of requests: by which connection, how often, and what comes of a server's end."""

from __future__ import annotations

import json

import pytest

from faith.proxy import body_framing, http_head, request_target
from faith.proxy.http_connection import HttpConnection, Stage
from faith.proxy.http_forwarding import HttpForwarding
from faith.proxy.proxy_events import HTTP, Dial, HangUp, LeaveServer, Target, ToClient, ToServer
from faith.proxy.proxy_rules import ProxyRules
from faith.translation import reasons

SERVER = Target("example.org", 80, False)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Forwarded:
    """A request that is forwarded, by the connection to an *old* server or to another one."""

    def __init__(self, method: str = "GET", length: int = 0, old: Target | None = None) -> None:
        self.connection = HttpConnection(ProxyRules())
        self.connection.server.at = old
        self.forwarding = HttpForwarding(self.connection)
        head = f"{method} http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
        head += f"Content-Length: {length}\r\n" if length else ""
        request = http_head.request(head.encode() + b"\r\n")
        body = body_framing.of_request(request.fields, request.minor)
        self.forwarding.begin(request, request_target.asked(request), body, None)

    def connected(self) -> Forwarded:
        self.forwarding.connected()
        return self

    def hears(self, octets: bytes, over: str | None = None) -> None:
        """The server says *octets*, and may be *over* then."""
        self.connection.server.feed(octets)
        if over:
            self.connection.server.end(over)
        while self.connection.stage is Stage.EXCHANGE and self.forwarding.step():
            pass

    def said(self) -> bytes:
        events = self.connection.events
        return b"".join(event.data for event in events if isinstance(event, ToClient))


def test_an_old_connection_serves_for_what_may_be_sent_again() -> None:
    one = Forwarded(old=SERVER)
    assert one.connection.stage is Stage.EXCHANGE
    assert [type(event) for event in one.connection.events] == [ToServer]


@pytest.mark.parametrize(("method", "length"), [("POST", 0), ("GET", 5)])
def test_nothing_else_goes_by_it(method: str, length: int) -> None:
    one = Forwarded(method, length, old=SERVER)
    assert one.connection.events == [LeaveServer(reasons.CLOSED), Dial(SERVER, HTTP)]


def test_another_server_is_dialled() -> None:
    one = Forwarded(old=Target("example.org", 8080, False))
    assert one.connection.events == [LeaveServer(reasons.CLOSED), Dial(SERVER, HTTP)]


def test_an_old_connection_that_is_lost_is_followed_by_one_more() -> None:
    one = Forwarded(old=SERVER)
    one.hears(b"", over="server reset")
    assert one.connection.events[1:] == [LeaveServer("server reset"), Dial(SERVER, HTTP)]
    one.connected().hears(b"", over="server reset")
    assert one.said().startswith(b"HTTP/1.1 502 ")
    assert one.connection.stage is Stage.HEAD


def test_bodies_are_passed_on_and_counted() -> None:
    one = Forwarded("POST", 5).connected()
    assert (one.forwarding.client_body, one.forwarding.server_body) == (5, 0)
    one.forwarding.moved("client", 3)
    one.connection.client += b"lo"
    assert one.forwarding.wants_client
    one.hears(ANSWER)
    assert one.connection.events[2] == ToServer(b"lo")
    assert not one.forwarding.wants_client
    assert one.forwarding.server_body == 5
    one.forwarding.moved("server", 4)
    one.hears(b"o")
    assert one.connection.stage is Stage.HEAD
    assert one.connection.server.at == SERVER


@pytest.mark.parametrize(
    ("head", "hang_up"),
    [
        (ANSWER, HangUp("server reset")),  # its length tells the client
        (b"HTTP/1.1 200 OK\r\n\r\n", HangUp("server reset", cut=True)),
    ],
)
def test_a_server_that_is_lost_in_its_answer(head: bytes, hang_up: HangUp) -> None:
    one = Forwarded().connected()
    one.hears(head + b"h", over="server reset")
    assert one.connection.events[-1] == hang_up


def test_what_is_no_answer_is_answered_by_the_proxy() -> None:
    one = Forwarded().connected()
    one.hears(b"220 mail.example\r\n\r\n")
    assert one.said().startswith(b"HTTP/1.1 502 ")
    assert LeaveServer(reasons.OUT_OF_STEP) in one.connection.events


def test_it_goes_to_another_process() -> None:
    one, another = Forwarded().connected(), HttpConnection(ProxyRules())
    forwarding = HttpForwarding(another)
    another.restore(json.loads(json.dumps(one.connection.state())))
    forwarding.restore(json.loads(json.dumps(one.forwarding.state())))
    another.server.feed(ANSWER + b"hello")
    while another.stage is Stage.EXCHANGE:
        assert forwarding.step()
    assert another.events[-1] == ToClient(b"hello")
    assert forwarding.state() is None


def test_nothing_goes_along_of_a_connection_that_is_over() -> None:
    one = Forwarded().connected()
    one.connection.hang_up(reasons.CLOSED)
    assert one.forwarding.state() is None
