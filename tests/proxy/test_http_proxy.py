"""HTTP, exchange by exchange (RFC 9110, RFC 9112)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from faith.proxy.http_connection import OWN_ANSWERS
from faith.proxy.http_exchange import INTERIM
from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import (
    CONNECT,
    HTTP,
    CheckUser,
    Dial,
    Event,
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
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from faith.proxy.http_head import Field

EXAMPLE = Target("example.org", 80, False)
SOURCE = ("192.0.2.1", 40000)
GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: example.org\r\nVia: 1.1 faith\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
USER = (b"Proxy-Authorization", b"Basic " + base64.b64encode(b"me:secret"))


def request(*fields: Field, method: bytes = b"GET", uri: bytes = b"http://example.org/") -> bytes:
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"%s %s HTTP/1.1\r\nHost: example.org\r\n%s\r\n" % (method, uri, lines)


def asked(octets: bytes = GET, rules: ProxyRules | None = None) -> HttpProxy:
    """A machine whose server has answered and was sent the request in *octets*."""
    machine = HttpProxy(rules or ProxyRules())
    assert isinstance(machine.from_client(octets)[-1], Dial)
    assert isinstance(machine.connected(SOURCE)[0], ToServer)
    return machine


def to_client(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, ToClient))


def to_server(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, ToServer))


def status(events: list[Event]) -> int:
    """The status of the answer in *events*, which is whole."""
    octets = to_client(events)
    assert octets.startswith(b"HTTP/1.1 ")
    return int(octets[9:12])


# -- CONNECT -------------------------------------------------------------------------------------


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
    assert machine.from_client(b"more") == []


def test_connect_in_http_10() -> None:
    machine = HttpProxy(ProxyRules())
    octets = b"CONNECT 192.0.2.1:443 HTTP/1.0\r\n\r\n"
    assert machine.from_client(octets) == [Dial(Target("192.0.2.1", 443, True), CONNECT)]
    assert machine.failed(reasons.REFUSED)[-1] == HangUp(reasons.REFUSED)


def test_connect_that_fails_may_be_tried_again() -> None:
    machine = HttpProxy(ProxyRules())
    octets = request(method=b"CONNECT", uri=b"example.org:443")
    machine.from_client(octets)
    events = machine.failed(reasons.TIMEOUT)
    assert status(events) == 504
    assert b"no answer from example.org:443: timeout\n" in to_client(events)
    assert isinstance(machine.from_client(octets)[0], Dial)


def test_connect_leaves_the_server_of_requests_before() -> None:
    machine = asked()
    machine.from_server(HELLO)
    assert machine.from_client(request(method=b"CONNECT", uri=b"example.org:443")) == [
        LeaveServer(reasons.CLOSED),
        Dial(Target("example.org", 443, False), CONNECT),
    ]


@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("method", [b"CONNECT example.org:443", b"TRACE http://example.org/"])
def test_no_content_where_none_belongs(fields: bytes, method: bytes) -> None:
    octets = method + b" HTTP/1.1\r\nHost: example.org\r\n" + fields + b"\r\nhello"
    assert status(HttpProxy(ProxyRules()).from_client(octets)) == 400


@pytest.mark.parametrize(
    ("uri", "method", "is_open"),
    [
        (b"example.org:443", b"CONNECT", True),
        (b"example.org:993", b"CONNECT", True),
        (b"example.org:80", b"CONNECT", False),
        (b"example.org:25", b"CONNECT", False),
        (b"example.org:8443", b"CONNECT", False),
        (b"http://example.org:80/", b"GET", True),
        (b"http://example.org:443/", b"GET", True),
        (b"http://example.org:993/", b"GET", True),
        (b"http://example.org:1024/", b"GET", True),
        (b"http://example.org:1023/", b"GET", False),
        (b"http://example.org:25/", b"GET", False),
    ],
)
def test_which_ports_are_open(uri: bytes, method: bytes, is_open: bool) -> None:
    machine = HttpProxy(ProxyRules(connect_ports=Ports([(443, 443), (993, 993)])))
    events = machine.from_client(request(method=method, uri=uri))
    assert isinstance(events[0], Dial if is_open else Refused)
    if not is_open:
        assert isinstance(events[0], Refused)
        assert events[0].why == reasons.PORT_CLOSED
        assert status(events) == 403
        assert machine.wants_client


@pytest.mark.parametrize(
    ("methods", "octets"),
    [({"http"}, request(method=b"CONNECT", uri=b"example.org:443")), ({"connect"}, GET)],
)
def test_a_method_that_the_rules_do_not_permit(methods: set[str], octets: bytes) -> None:
    events = HttpProxy(ProxyRules(methods=frozenset(methods))).from_client(octets)
    assert isinstance(events[0], Refused)
    assert events[0].why == reasons.NO_METHOD
    assert status(events) == 403


# -- requests that are forwarded -----------------------------------------------------------------


def test_a_request_is_forwarded_and_answered() -> None:
    machine = HttpProxy(ProxyRules())
    assert machine.client_body == machine.server_body == 0
    assert not machine.wants_server
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]
    assert machine.client_body == machine.server_body == 0
    assert machine.connected(SOURCE) == [ToServer(SENT)]
    assert not machine.wants_client
    assert machine.wants_server
    assert machine.from_server(HELLO) == [
        ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 faith\r\n\r\n"),
        ToClient(b"hello"),
    ]
    assert machine.from_client(GET) == [ToServer(SENT)]


def test_another_server_is_dialled_in_place_of_the_first() -> None:
    machine = asked()
    machine.from_server(HELLO)
    assert machine.from_client(GET.replace(b"example.org/", b"[2001:db8::1]:8080/")) == [
        LeaveServer(reasons.CLOSED),
        Dial(Target("2001:db8::1", 8080, True), HTTP),
    ]
    assert b"\r\nHost: [2001:db8::1]:8080\r\n" in to_server(machine.connected(SOURCE))


def test_pipelined_requests_are_answered_in_order() -> None:
    machine = asked(GET * 2)
    assert not machine.wants_client
    events = machine.from_server(HELLO)
    assert events[-1] == ToServer(SENT)
    assert to_client(machine.from_server(HELLO.replace(b"hello", b"world"))).endswith(b"world")
    assert machine.wants_client


def test_a_body_goes_with_its_request() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(POST + b"Content-Length: 8\r\n\r\nabc")
    assert to_server(machine.connected(SOURCE)).endswith(b"\r\n\r\nabc")
    assert machine.wants_client
    assert machine.client_body == 5
    assert machine.from_client(b"defgh" + GET) == [ToServer(b"defgh")]
    assert not machine.wants_client
    assert machine.from_server(HELLO)[-1] == ToServer(SENT)


def test_octets_of_bodies_may_be_moved_past_the_machine() -> None:
    machine = asked(POST + b"Content-Length: 8\r\n\r\n")
    assert machine.client_body == 8
    assert machine.body_moved("client", 8) == []
    assert machine.client_body == 0
    assert not machine.wants_client
    machine.from_server(CHUNKED + b"a\r\n01")
    assert machine.server_body == 8
    assert machine.body_moved("server", 8) == []
    assert machine.server_body == 0
    assert to_client(machine.from_server(b"\r\n0\r\n\r\n")) == b"\r\n0\r\n\r\n"
    assert machine.wants_client


def test_the_last_octets_that_are_moved_end_an_answer() -> None:
    machine = asked(request((b"Connection", b"close")))
    machine.from_server(HELLO[:-5])
    assert machine.server_body == 5
    assert machine.body_moved("server", 5) == [
        LeaveServer(reasons.CLOSED),
        HangUp(reasons.CLOSED),
    ]


def test_an_unsafe_request_goes_by_a_connection_of_its_own() -> None:
    """It could not be sent again if the server closed the old one meanwhile (RFC 9110 §9.2.2)."""
    machine = asked()
    machine.from_server(HELLO)
    assert machine.from_client(POST + b"Content-Length: 0\r\n\r\n") == [
        LeaveServer(reasons.CLOSED),
        Dial(EXAMPLE, HTTP),
    ]


def test_a_safe_request_is_sent_again_once_if_the_old_connection_has_ended() -> None:
    machine = asked()
    machine.from_server(HELLO)
    machine.from_client(GET)
    assert machine.server_ended() == [LeaveServer(reasons.CLOSED), Dial(EXAMPLE, HTTP)]
    assert machine.connected(SOURCE) == [ToServer(SENT)]
    events = machine.server_ended()
    assert status(events) == 502
    assert machine.wants_client


def test_it_is_not_when_an_answer_has_begun() -> None:
    machine = asked()
    machine.from_server(HELLO)
    machine.from_client(GET)
    machine.from_server(b"HTTP")
    assert status(machine.server_ended("server reset")) == 502


def test_a_server_that_leaves_between_requests() -> None:
    machine = asked()
    machine.from_server(HELLO)
    assert machine.server_ended() == [LeaveServer(reasons.CLOSED)]
    assert not machine.wants_server
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]


@pytest.mark.parametrize("extra", [b"x", HELLO])
def test_octets_that_nobody_asked_for_are_no_answer_to_the_next_request(extra: bytes) -> None:
    machine = asked()
    assert machine.from_server(HELLO + extra)[-1] == LeaveServer(reasons.OUT_OF_STEP)
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]
    machine.connected(SOURCE)
    machine.from_server(HELLO)
    assert machine.from_server(extra) == [LeaveServer(reasons.OUT_OF_STEP)]


@pytest.mark.parametrize(
    ("why", "code", "error"),
    [
        (reasons.REFUSED, 502, b"connection_refused"),
        (reasons.TIMEOUT, 504, b"connection_timeout"),
        (reasons.NO_NAME, 502, b"dns_error"),
        (f"{reasons.DENIED}: line 3", 403, b"destination_ip_prohibited"),
        (reasons.TOTAL, 503, b"connection_limit_reached"),
    ],
)
def test_a_server_that_is_not_reached(why: str, code: int, error: bytes) -> None:
    machine = HttpProxy(ProxyRules(pseudonym="gate"))
    machine.from_client(GET)
    events = machine.failed(why)
    assert status(events) == code
    assert b"Proxy-Status: gate; error=" + error + b"\r\n" in to_client(events)
    assert to_client(events).endswith(f" example.org:80: {why}\n".encode())
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]


def test_the_connection_ends_with_a_body_that_nobody_reads() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    events = machine.failed(reasons.REFUSED)
    assert b"\r\nConnection: close\r\n" in to_client(events)
    assert events[-1] == HangUp(reasons.REFUSED)


def test_an_answer_without_an_end_of_its_own_ends_with_the_connection() -> None:
    machine = asked()
    events = machine.from_server(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert b"\r\nConnection: close\r\n" in to_client(events)
    assert machine.server_body > 1 << 60
    assert machine.server_ended() == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]


@pytest.mark.parametrize(
    ("answer", "is_cut"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhel", True),
        (HELLO[:-2], False),
        (CHUNKED + b"5\r\nhello\r\n", False),
    ],
)
def test_a_client_learns_that_an_answer_is_not_whole(answer: bytes, is_cut: bool) -> None:
    machine = asked()
    machine.from_server(answer)
    assert machine.server_ended("server reset") == [
        LeaveServer("server reset"),
        HangUp("server reset", is_cut),
    ]


def test_a_client_of_http_10_has_no_chunks_and_a_reset_for_the_lack_of_them() -> None:
    machine = asked(b"GET http://example.org/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    events = machine.from_server(CHUNKED + b"5\r\nhello\r\n")
    assert to_client(events).endswith(b"Connection: close\r\nVia: 1.1 faith\r\n\r\nhello")
    assert b"chunked" not in to_client(events)
    assert machine.server_ended()[-1] == HangUp(reasons.CLOSED, cut=True)


def test_a_client_of_http_10_leaves_after_its_answer() -> None:
    machine = asked(b"GET http://example.org/ HTTP/1.0\r\n\r\n")
    events = machine.from_server(CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n")
    assert events[-2:] == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    ],
)
def test_a_server_leaves_and_the_client_stays(answer: bytes) -> None:
    machine = asked()
    events = machine.from_server(answer)
    assert events[-1] == LeaveServer(reasons.CLOSED)
    assert b"Connection" not in to_client(events)
    assert machine.from_client(GET) == [Dial(EXAMPLE, HTTP)]


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (GET.replace(b"GET", b"HEAD"), HELLO[:-5]),
        (GET.replace(b"GET", b"HEAD"), CHUNKED),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_answers_without_content(octets: bytes, answer: bytes) -> None:
    machine = asked(octets)
    machine.from_server(answer)
    assert machine.wants_client
    assert machine.from_client(GET) == [ToServer(SENT)]


def test_trailers_arrive() -> None:
    machine = asked(request((b"TE", b"trailers")))
    events = machine.from_server(CHUNKED + b"0\r\nDigest: x\r\nContent-Length: 9\r\n\r\n")
    assert to_client(events).endswith(b"\r\n\r\n0\r\nDigest: x\r\n\r\n")
    machine = asked(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    assert to_server(machine.from_client(b"0\r\nDigest: x\r\n\r\n")) == b"0\r\nDigest: x\r\n\r\n"


# -- interim responses, upgrades -----------------------------------------------------------------


def test_100_continue() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert b"\r\nExpect: 100-continue\r\n" in to_server(machine.connected(SOURCE))
    proceed = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert machine.from_server(proceed) == [ToClient(proceed)]
    assert machine.from_client(b"hello") == [ToServer(b"hello")]
    assert status(machine.from_server(HELLO)) == 200


DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_an_answer_without_a_date_gets_one() -> None:
    machine = asked(GET + GET)
    machine.date = DATE
    assert b"Date: " + DATE in to_client(machine.from_server(HELLO)).split(b"\r\n")
    other = HELLO.replace(b"\r\n", b"\r\ndate: yesterday\r\n", 1)
    assert b"Date" not in to_client(machine.from_server(other))
    assert b"Date: " + DATE in to_client(machine.from_client(b"GET /\r\n\r\n")).split(b"\r\n")


def test_an_interim_response_has_no_date() -> None:
    machine = asked()
    machine.date = DATE
    assert b"Date" not in to_client(machine.from_server(b"HTTP/1.1 103 Early Hints\r\n\r\n"))


def test_an_answer_before_the_body_has_come() -> None:
    machine = asked(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert status(machine.from_server(HELLO)) == 200
    assert machine.wants_client
    assert machine.wants_server, "it may end"
    assert machine.from_client(b"hello" + GET)[0] == ToServer(b"hello")


@pytest.mark.parametrize("why", [reasons.CLOSED, "server reset"])
def test_a_server_that_ends_after_such_an_answer(why: str) -> None:
    machine = asked(POST + b"Content-Length: 5\r\n\r\nhell")
    assert status(machine.from_server(HELLO)) == 200
    assert machine.server_ended(why) == [LeaveServer(why), HangUp(why)]


def test_a_server_that_says_more_after_such_an_answer() -> None:
    machine = asked(POST + b"Content-Length: 5\r\n\r\nhell")
    *_, left, hung_up = machine.from_server(HELLO + b"x")
    assert left == LeaveServer(reasons.OUT_OF_STEP)
    assert hung_up == HangUp(reasons.OUT_OF_STEP)


def test_a_server_that_goes_on_while_a_user_is_checked() -> None:
    machine = HttpProxy(ProxyRules(needs_user=True))
    machine.from_client(request(USER))
    machine.user_checked(True)
    machine.connected(SOURCE)
    machine.from_server(HELLO)
    other = USER[0], b"Basic " + base64.b64encode(b"other:secret")
    assert isinstance(machine.from_client(request(other))[-1], CheckUser)
    assert machine.wants_server
    assert machine.from_server(b"unasked") == []
    assert not machine.wants_server, "there would be no bound to it"
    left, dial = machine.user_checked(True)
    assert left == LeaveServer(reasons.OUT_OF_STEP)
    assert isinstance(dial, Dial)


def test_a_server_that_does_not_wait_for_the_body() -> None:
    machine = asked(POST + b"Content-Length: 5\r\n\r\n")
    events = machine.from_server(HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert events[-2:] == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]


def test_interim_responses_pass_but_not_to_http_10() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert to_client(asked().from_server(hints)) == hints
    machine = asked(b"GET http://example.org/ HTTP/1.0\r\n\r\n")
    assert machine.from_server(hints) == []
    assert status(machine.from_server(HELLO)) == 200


def test_interim_responses_have_an_end() -> None:
    proceed = b"HTTP/1.1 100 Continue\r\n\r\n"
    machine = asked()
    assert to_client(machine.from_server(proceed * INTERIM)) == proceed * INTERIM
    events = machine.from_server(proceed)
    assert events[0] == LeaveServer(reasons.OUT_OF_STEP)
    assert status(events) == 502


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


def test_a_websocket() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(request(*UPGRADE) + b"\x81\x00")
    assert b"\r\nUpgrade: websocket\r\n" in to_server(machine.connected(SOURCE))
    assert machine.from_server(SWITCHED + b"\x81\x01a") == [
        ToClient(SWITCHED),
        Tunnel(b"\x81\x00", b"\x81\x01a"),
    ]


def test_a_server_that_does_not_switch() -> None:
    machine = asked(request(*UPGRADE))
    machine.from_server(HELLO)
    assert machine.from_client(GET) == [ToServer(SENT)]


@pytest.mark.parametrize("fields", [(), ((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"))])
def test_a_server_that_switches_unasked(fields: tuple[Field, ...]) -> None:
    machine = asked(request(*fields))
    events = machine.from_server(SWITCHED)
    assert status(events) == 502
    assert events[0] == LeaveServer(reasons.OUT_OF_STEP)


# -- what is no HTTP, or two things at once ------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (GET.replace(b"\r\n", b"\n"), 400),
        (GET.replace(b"http:", b"https:"), 501),
        (GET.replace(b"http:", b"ftp:"), 501),
        (GET.replace(b"example.org/", b"user@example.org/"), 400),
        (b"G\0", 400),
        (request((b"Max-Forwards", b"x"), method=b"TRACE"), 400),
    ],
)
def test_a_bad_request_ends_the_connection(octets: bytes, code: int) -> None:
    machine = HttpProxy(ProxyRules())
    events = machine.from_client(octets)
    refused = events[0]
    assert isinstance(refused, Refused)
    reason, _, what = refused.why.partition(": ")
    assert reason == reasons.BAD_REQUEST
    assert to_client(events).endswith(f"\r\n\r\n{what}\n".encode()), "the record has it too"
    assert status(events) == code
    assert b"\r\nConnection: close\r\n" in to_client(events)
    assert events[-1] == HangUp(reasons.BAD_REQUEST)
    assert machine.from_client(GET) == []


def test_a_bad_chunk_gets_no_further() -> None:
    machine = asked(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    events = machine.from_client(b"5\nhello")
    assert to_server(events) == b""
    assert events[0] == LeaveServer(reasons.BAD_REQUEST)
    assert status(events) == 400
    assert events[-1] == HangUp(reasons.BAD_REQUEST)


def test_a_good_chunk_before_a_bad_one_gets_further() -> None:
    machine = asked(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    events = machine.from_client(b"5\r\nhello\r\nx\r\n")
    assert to_server(events) == b"5\r\nhello\r\n"
    assert status(events) == 400


def test_a_bad_chunk_after_the_answer_has_begun() -> None:
    machine = asked(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    machine.from_server(HELLO[:-2])
    assert machine.from_client(b"x") == []
    assert machine.from_client(b"\r\n") == [
        LeaveServer(reasons.BAD_REQUEST),
        HangUp(reasons.BAD_REQUEST),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n\r\n",
        b"SSH-2.0-OpenSSH\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: x\r\n\r\n",
    ],
)
def test_a_bad_answer(answer: bytes) -> None:
    machine = asked()
    events = machine.from_server(answer)
    assert events[0] == LeaveServer(reasons.OUT_OF_STEP)
    assert status(events) == 502
    assert b"error=http_protocol_error" in to_client(events)
    assert b"realm" not in to_client(events)


def test_bad_chunks_of_an_answer() -> None:
    machine = asked()
    machine.from_server(CHUNKED + b"5\r\nhello")
    assert machine.from_server(b"X") == [
        LeaveServer(reasons.OUT_OF_STEP),
        HangUp(reasons.OUT_OF_STEP),
    ]


def test_a_loop() -> None:
    machine = HttpProxy(ProxyRules(pseudonym="gate"))
    events = machine.from_client(request((b"Via", b"1.1 fred, 1.1 Gate (x)")))
    assert events[0] == Refused(EXAMPLE, reasons.PROXY_LOOP, HTTP)
    assert status(events) == 502
    assert b"error=proxy_loop_detected" in to_client(events)
    assert isinstance(machine.from_client(request((b"Via", b"1.1 fred")))[0], Dial)


# -- users ---------------------------------------------------------------------------------------

LOCKED = ProxyRules(needs_user=True, autoconfig="text")


def test_a_user_is_checked_with_every_request_and_goes_no_further() -> None:
    machine = HttpProxy(LOCKED)
    assert machine.from_client(request(USER)) == [CheckUser("me", b"secret")]
    assert not machine.wants_client
    assert machine.user_checked(True) == [Dial(EXAMPLE, HTTP)]
    assert machine.connected(SOURCE) == [ToServer(SENT)]
    machine.from_server(HELLO)
    assert machine.from_client(request(USER)) == [CheckUser("me", b"secret")]
    assert machine.user_checked(True) == [ToServer(SENT)]


def test_other_rules_are_for_the_next_request() -> None:
    machine = asked()
    machine.rules = ProxyRules(methods=frozenset({CONNECT}))
    assert status(machine.from_server(HELLO)) == 200
    assert status(machine.from_client(GET)) == 403


def test_another_password_is_checked_again() -> None:
    machine = HttpProxy(LOCKED)
    machine.from_client(request(USER))
    machine.user_checked(True)
    machine.connected(SOURCE)
    machine.from_server(HELLO)
    other = (USER[0], b"Basic " + base64.b64encode(b"me:guess"))
    assert machine.from_client(request(other)) == [CheckUser("me", b"guess")]
    assert status(machine.user_checked(False)) == 407
    assert machine.from_client(request(USER)) == [CheckUser("me", b"secret")]


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((USER[0], b"Bearer x"),),
        (USER, USER),
        ((b"Authorization", USER[1]),),
    ],
)
def test_a_user_is_asked_for(fields: tuple[Field, ...]) -> None:
    machine = HttpProxy(LOCKED)
    events = machine.from_client(request(*fields))
    assert status(events) == 407
    assert b"\r\nProxy-Authenticate: Basic " in to_client(events)
    assert machine.from_client(request(USER)) == [CheckUser("me", b"secret")]


@pytest.mark.parametrize(("good", "code"), [(False, 407), (None, 429)])
def test_a_wrong_password(good: bool | None, code: int) -> None:
    machine = HttpProxy(LOCKED)
    machine.from_client(request(USER, method=b"CONNECT", uri=b"example.org:443"))
    events = machine.user_checked(good)
    assert events[0] == Refused(Target("example.org", 443, False), reasons.WRONG_PASSWORD, CONNECT)
    assert status(events) == code


def test_who_is_not_known_learns_nothing_of_the_rules() -> None:
    events = HttpProxy(LOCKED).from_client(request(method=b"CONNECT", uri=b"example.org:25"))
    assert status(events) == 407


def test_a_password_does_not_go_on_where_none_is_needed() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(request(USER, (b"Authorization", b"Basic for-the-server")))
    sent = to_server(machine.connected(SOURCE))
    assert b"Proxy-Authorization" not in sent
    assert b"\r\nAuthorization: Basic for-the-server\r\n" in sent


def test_no_password_goes_to_another_process() -> None:
    machine = HttpProxy(LOCKED)
    machine.from_client(request(USER))
    machine.user_checked(True)
    machine.connected(SOURCE)
    machine.from_server(HELLO)
    assert USER[1].decode() not in repr(machine.state())
    another = HttpProxy(LOCKED)
    another.restore(machine.state())
    assert another.from_client(request(USER)) == [CheckUser("me", b"secret")]


# -- the proxy itself ----------------------------------------------------------------------------


def test_the_file_for_automatic_configuration_needs_no_password() -> None:
    events = HttpProxy(LOCKED).from_client(request(uri=b"/proxy.pac"))
    assert to_client(events).endswith(b"\r\n\r\ntext")


def test_a_client_may_ask_for_it_by_the_proxy() -> None:
    machine = HttpProxy(ProxyRules(autoconfig="text", own=frozenset({("gate.example", 1080)})))
    events = machine.from_client(request(uri=b"http://gate.example:1080/wpad.dat"))
    assert to_client(events).endswith(b"\r\n\r\ntext")
    assert isinstance(machine.from_client(request(uri=b"http://gate.example/wpad.dat"))[0], Dial)


def test_the_last_hop() -> None:
    trace = request((b"Max-Forwards", b"0"), method=b"TRACE")
    events = HttpProxy(ProxyRules()).from_client(trace)
    assert status(events) == 200
    assert to_client(events).endswith(b"\r\n\r\n" + trace)
    machine = HttpProxy(ProxyRules())
    machine.from_client(trace.replace(b"s: 0", b"s: 5"))
    assert b"\r\nMax-Forwards: 4\r\n" in to_server(machine.connected(SOURCE))


def test_own_answers_in_a_row_have_an_end() -> None:
    machine = HttpProxy(ProxyRules())
    events = machine.from_client(request(uri=b"/") * 1000)
    assert to_client(events).count(b"HTTP/1.1 400 ") == OWN_ANSWERS
    assert events[-1] == HangUp(reasons.CLOSED)


def test_an_answer_to_head_has_no_content() -> None:
    events = HttpProxy(ProxyRules()).from_client(request(method=b"HEAD", uri=b"/proxy.pac"))
    assert to_client(events).endswith(b"\r\n\r\n")
    assert status(events) == 404


# -- ends ----------------------------------------------------------------------------------------


def test_a_client_that_leaves() -> None:
    machine = HttpProxy(ProxyRules())
    assert machine.client_ended() == [HangUp(reasons.CLOSED)]
    assert machine.client_ended() == []


def test_a_client_that_leaves_in_the_middle_of_a_head() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(GET[:-2])
    assert machine.client_ended() == [HangUp(reasons.CLOSED)]


def test_a_client_that_has_sent_all_is_answered() -> None:
    machine = HttpProxy(ProxyRules())
    machine.from_client(GET)
    assert machine.client_ended() == []
    machine.connected(SOURCE)
    events = machine.from_server(HELLO)
    assert to_client(events).endswith(b"hello")
    assert events[-2:] == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]


def test_a_client_that_leaves_in_the_middle_of_a_body() -> None:
    machine = asked(POST + b"Content-Length: 5\r\n\r\nhel")
    assert machine.client_ended() == [LeaveServer(reasons.CLOSED), HangUp(reasons.CLOSED)]


def test_a_client_that_is_lost_takes_its_server_along() -> None:
    machine = asked()
    assert machine.client_ended("client reset") == [
        LeaveServer("client reset"),
        HangUp("client reset"),
    ]


def test_a_server_that_is_too_slow() -> None:
    machine = asked()
    events = machine.failed(reasons.TIMEOUT)
    assert events[0] == LeaveServer(reasons.TIMEOUT)
    assert status(events) == 504
    assert machine.wants_client


def test_an_error_has_no_content_for_head() -> None:
    machine = asked(GET.replace(b"GET", b"HEAD"))
    assert to_client(machine.server_ended()).endswith(b"\r\n\r\n")


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
