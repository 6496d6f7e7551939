"""Requests of a client of HTTP: which are answered at once, and which wait for whom."""

from __future__ import annotations

import json

import pytest

from faith.proxy.http_connection import HttpConnection, Stage
from faith.proxy.http_forwarding import HttpForwarding
from faith.proxy.http_requests import HttpRequests
from faith.proxy.proxy_events import (
    CONNECT,
    HTTP,
    CheckUser,
    Dial,
    HangUp,
    LeaveServer,
    Refused,
    Target,
    ToClient,
    ToServer,
    Tunnel,
)
from faith.proxy.proxy_rules import ProxyRules
from faith.translation import reasons

TUNNELLED = Target("example.org", 443, False)
FORWARDED = Target("example.org", 80, False)
CONNECTS = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n"
GETS = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n%s\r\n"
OTHER_USER = b"Proxy-Authorization: Basic Ym9iOnNlY3JldA==\r\n"
USER = b"Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n"


class Asking:
    """A connection on which *octets* have come."""

    def __init__(self, octets: bytes, **rules: bool) -> None:
        self.connection = HttpConnection(ProxyRules(**rules))  # type: ignore[arg-type]
        self.requests = HttpRequests(self.connection, HttpForwarding(self.connection))
        self.connection.client += octets

    def status(self) -> bytes:
        """The status of the only answer."""
        (answer,) = [one.data for one in self.connection.events if isinstance(one, ToClient)]
        return answer[9:12]


def test_half_a_request_waits() -> None:
    one = Asking(CONNECTS[:-2])
    assert not one.requests.step()
    assert (one.connection.stage, one.connection.events) == (Stage.HEAD, [])


@pytest.mark.parametrize(
    ("octets", "dial"), [(CONNECTS, Dial(TUNNELLED, CONNECT)), (GETS % b"", Dial(FORWARDED, HTTP))]
)
def test_a_server_is_dialled(octets: bytes, dial: Dial) -> None:
    one = Asking(octets + b"more")
    assert one.requests.step()
    assert (one.connection.stage, one.connection.events) == (Stage.SERVER, [dial])
    assert one.connection.client == b"more"
    assert one.requests.connects is (dial.method == CONNECT)


def test_a_tunnel_begins() -> None:
    one = Asking(CONNECTS + b"more")
    one.requests.step()
    one.requests.connected()
    assert one.status() == b"200"
    assert one.connection.events[-1] == Tunnel(b"more")


def test_a_tunnel_does_not() -> None:
    one = Asking(CONNECTS)
    one.requests.step()
    one.requests.failed(reasons.NO_NAME)
    assert one.status() == b"502"
    assert (one.connection.stage, one.requests.connects) == (Stage.HEAD, False)


@pytest.mark.parametrize(("good", "status"), [(False, b"407"), (None, b"429")])
def test_a_password_that_is_not_right(good: bool | None, status: bytes) -> None:
    one = Asking(GETS % USER, needs_user=True)
    assert one.requests.step()
    assert one.connection.events == [CheckUser("ann", b"secret")]
    assert one.connection.stage is Stage.USER
    one.requests.user_checked(good)
    assert one.connection.events[1] == Refused(FORWARDED, reasons.WRONG_PASSWORD, HTTP)
    assert one.status() == status


def test_a_password_that_is_right() -> None:
    one = Asking(GETS % USER, needs_user=True)
    one.requests.step()
    one.requests.user_checked(True)
    assert one.connection.events[1:] == [Dial(FORWARDED, HTTP)]


def test_a_server_is_not_shared_by_users() -> None:
    one = Asking(GETS % USER, needs_user=True)
    one.requests.step()
    one.requests.user_checked(True)
    one.connection.server.at, one.connection.stage = FORWARDED, Stage.HEAD
    del one.connection.events[:]
    one.connection.client += GETS % USER + GETS % OTHER_USER
    one.requests.step()
    one.requests.user_checked(True)
    assert [type(event) for event in one.connection.events] == [CheckUser, ToServer]
    one.connection.stage = Stage.HEAD
    del one.connection.events[:]
    one.requests.step()
    one.requests.user_checked(True)
    assert one.connection.events[1:] == [LeaveServer(reasons.CLOSED), Dial(FORWARDED, HTTP)]
    assert one.requests.user == "bob"


@pytest.mark.parametrize("fields", [b"", USER * 2, b"Proxy-Authorization: Basic !\r\n"])
def test_no_password(fields: bytes) -> None:
    one = Asking(GETS % fields, needs_user=True)
    one.requests.step()
    assert one.status() == b"407"


def test_a_request_that_cannot_be_read_ends_it() -> None:
    one = Asking(b"GET\r\n\r\n")
    assert not one.requests.step()
    assert one.status() == b"400"
    assert one.connection.stage is Stage.OVER


@pytest.mark.parametrize(
    ("octets", "over", "why"),
    [(b"?", None, reasons.OUT_OF_STEP), (b"", "server reset", "server reset")],
)
def test_a_server_that_moves_unasked_is_left(octets: bytes, over: str | None, why: str) -> None:
    one = Asking(b"")
    one.connection.server.at = FORWARDED
    one.connection.server.feed(octets)
    if over:
        one.connection.server.end(over)
    assert not one.requests.step()
    assert one.connection.events == [LeaveServer(why)]


def test_a_client_that_has_ended_is_left() -> None:
    one = Asking(b"GET")
    one.connection.client_over = True
    assert not one.requests.step()
    assert one.connection.events == [HangUp(reasons.CLOSED)]


def test_a_connect_goes_to_another_process() -> None:
    one, another = Asking(CONNECTS), Asking(b"")
    one.requests.step()
    another.requests.restore(json.loads(json.dumps(one.requests.state())))
    another.requests.failed(reasons.REFUSED)
    assert another.status() == b"502"
    assert Asking(b"").requests.state() is None
