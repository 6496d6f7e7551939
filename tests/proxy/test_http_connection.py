"""A client's connection of HTTP: answers of the proxy's own, and ends."""

from __future__ import annotations

import json

from faith.proxy import own_answers
from faith.proxy.http_connection import OWN_ANSWERS, HttpConnection, Stage
from faith.proxy.http_head import BadMessage
from faith.proxy.proxy_events import Dial, HangUp, LeaveServer, Refused, Target, ToClient, Tunnel
from faith.proxy.proxy_rules import ProxyRules
from faith.translation import reasons

SERVER = Target("192.0.2.80", 80, True)
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def connection(*, served: bool = False) -> HttpConnection:
    one = HttpConnection(ProxyRules())
    if served:
        one.server.at = SERVER
    return one


def said(one: HttpConnection) -> bytes:
    """What the client is sent, in all."""
    return b"".join(event.data for event in one.events if isinstance(event, ToClient))


def test_an_answer_of_its_own_has_the_date_that_is_known() -> None:
    one = connection()
    one.say(own_answers.password_needed(), leaves=False, has_body=True, why=reasons.CLOSED)
    assert b"Date" not in said(one)
    one.date = DATE
    one.say(own_answers.password_needed(), leaves=False, has_body=False, why=reasons.CLOSED)
    assert said(one).count(b"\r\nDate: " + DATE + b"\r\n") == 1
    assert one.stage is Stage.HEAD


def test_so_many_in_a_row_end_the_connection() -> None:
    one = connection(served=True)
    for _ in range(OWN_ANSWERS):
        assert one.stage is Stage.HEAD
        one.say(own_answers.password_needed(), leaves=False, has_body=True, why=reasons.CLOSED)
    assert one.events[-2:] == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]
    assert said(one).count(b"Connection: close") == 1


def test_a_server_that_was_not_reached() -> None:
    one = connection()
    one.say_failed(reasons.REFUSED, SERVER, leaves=True, has_body=True)
    assert said(one).startswith(b"HTTP/1.1 502 ")
    assert said(one).endswith(b"no answer from 192.0.2.80:80: refused\n")
    assert one.events[-1] == HangUp(reasons.REFUSED)


def test_a_request_that_cannot_be_read() -> None:
    one = connection()
    one.refuse(BadMessage("it is none", 431))
    assert one.events[0] == Refused(None, "bad request: it is none")
    assert said(one).startswith(b"HTTP/1.1 431 ")
    assert (one.events[-1], one.stage) == (HangUp(reasons.BAD_REQUEST), Stage.OVER)


def test_a_server_is_left_once() -> None:
    one = connection(served=True)
    one.leave_server("server reset")
    one.leave_server(reasons.CLOSED)
    one.hang_up(reasons.CLOSED, cut=True)
    assert one.events == [LeaveServer("server reset"), HangUp(reasons.CLOSED, cut=True)]


def test_a_tunnel_has_what_both_have_sent() -> None:
    one = connection(served=True)
    one.client += b"early"
    one.server.feed(b"late")
    one.tunnel()
    assert one.events == [Tunnel(b"early", b"late")]
    assert one.stage is Stage.OVER
    assert not one.client
    assert not one.server.octets


def test_it_goes_to_another_process() -> None:
    one = connection(served=True)
    one.client += b"GET \xff"
    one.dial(SERVER, "http")
    one.own_answers, one.client_over = 3, True
    another = connection()
    another.restore(json.loads(json.dumps(one.state())))
    assert one.events == [Dial(SERVER, "http")]
    assert another.state() == one.state()
    assert another.stage is Stage.SERVER
    assert another.client == b"GET \xff"
