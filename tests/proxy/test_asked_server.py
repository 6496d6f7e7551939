"""The server of a client of HTTP: what is kept of it, and for how long."""

from __future__ import annotations

import json

from faith.proxy.asked_server import AskedServer
from faith.proxy.proxy_events import Target
from faith.translation import reasons

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def server(octets: bytes = b"") -> AskedServer:
    one = AskedServer()
    one.at = Target("192.0.2.80", 80, True)
    one.feed(octets)
    return one


def test_nothing_is_kept_without_one() -> None:
    none = AskedServer()
    none.feed(HEAD)
    none.end(reasons.CLOSED)
    assert not none.octets
    assert none.over is None


def test_a_head_is_taken_once_it_is_whole() -> None:
    one = server(HEAD[:10])
    assert one.take_head() is None
    one.feed(HEAD[10:] + b"hello")
    assert one.take_head() == HEAD
    assert one.octets == b"hello"


def test_its_first_end_counts() -> None:
    one = server()
    one.end("server reset")
    one.end(reasons.CLOSED)
    assert one.over == "server reset"


def test_another_one_begins_anew() -> None:
    one = server(HEAD[:10])
    assert one.take_head() is None
    one.end(reasons.CLOSED)
    one.clear()
    assert not one.octets
    assert one.at is None
    assert one.over is None
    one.at = Target("192.0.2.81", 80, True)
    one.feed(HEAD)
    assert one.take_head() == HEAD


def test_it_goes_to_another_process() -> None:
    for one in server(HEAD[:10] + b"\xff"), AskedServer():
        another = AskedServer()
        another.restore(json.loads(json.dumps(one.state())))
        assert another.state() == one.state()
        assert (another.at, another.octets) == (one.at, one.octets)
