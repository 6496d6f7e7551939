"""Arbitrary octets of clients and servers, in any pieces: nothing raises, grows, or is let past."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faith.proxy import body_framing, http_head
from faith.proxy.http_head import HeadReader
from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import CheckUser, Dial, Event, HangUp, ToServer, Tunnel
from faith.proxy.proxy_rules import ProxyRules
from tests.proxy.http_playbook import SOURCE, Answer, Play

CREDENTIALS = b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"  # me:secret
WRONG = b"Proxy-Authorization: Basic eW91OnNlY3JldA==\r\n"
HOST = b"Host: example.org\r\n"
REQUESTS = [
    b"GET http://example.org/ HTTP/1.1\r\n" + HOST + CREDENTIALS + b"\r\n",
    b"GET http://example.org/2 HTTP/1.1\r\n" + HOST + CREDENTIALS + b"Connection: close\r\n\r\n",
    b"GET http://other.example/ HTTP/1.1\r\n" + HOST + CREDENTIALS + b"\r\n",
    b"GET http://example.org:8081/ HTTP/1.1\r\n" + HOST + WRONG + b"\r\n",
    b"GET http://example.org/ HTTP/1.0\r\n" + CREDENTIALS + b"\r\n",
    b"HEAD http://example.org/ HTTP/1.1\r\n" + HOST + CREDENTIALS + b"\r\n",
    b"POST http://example.org/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST http://example.org/ HTTP/1.1\r\n"
    + HOST
    + CREDENTIALS
    + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    + b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"PUT http://example.org:8081/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"GET http://example.org/chat HTTP/1.1\r\n"
    + HOST
    + CREDENTIALS
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + CREDENTIALS + b"\r\n\x16\x03\x01",
    b"CONNECT example.org:25 HTTP/1.1\r\n" + HOST + CREDENTIALS + b"\r\n",
    b"GET /proxy.pac HTTP/1.1\r\n" + HOST + b"\r\n",
    b"OPTIONS http://example.org HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n\r\n",
    b"GET http://example.org/ HTTP/1.1\r\n" + HOST + b"Via: 1.1 faith\r\n\r\n",
    b"GET https://example.org/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST http://example.org/ HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]
ANSWERS = [
    Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", ends=True),
    Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", ends=True),
    Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
    Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"),
    Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ends=True),
    Answer(b"HTTP/1.0 200 OK\r\n\r\nhello", ends=True),
    Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    Answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
    Answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
    ),
    Answer(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    Answer(b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n"),
    Answer(b"220 mail.example ESMTP\r\n", ends=True),
    Answer(b"HTTP/1.1 200", ends=True),
    Answer(b"", ends=True),
    Answer(b"SSH-2.0-x\n"),
]
RULES = [
    ProxyRules(autoconfig="text"),
    ProxyRules(autoconfig="text", needs_user=True),
    ProxyRules(methods=frozenset({"connect"})),
]

streams = st.lists(
    st.one_of(st.sampled_from(REQUESTS), st.sampled_from(REQUESTS), st.binary(max_size=9)),
    max_size=5,
).map(b"".join)
answers = st.lists(st.sampled_from(ANSWERS), max_size=6)
rules = st.sampled_from(RULES)
places = st.lists(st.integers(0, 1000), max_size=8)
thorough = settings(max_examples=400, deadline=None)


@given(rules, streams, answers, places, st.booleans(), st.booleans(), st.booleans())
@example(
    RULES[0], REQUESTS[7] + REQUESTS[0], [ANSWERS[9], ANSWERS[3]], [150, 151], True, True, False
)
@example(
    RULES[1], REQUESTS[0] * 3, [ANSWERS[0], ANSWERS[15], ANSWERS[6]], [9, 50], True, True, True
)
@thorough
def test_any_cut_comes_to_the_same(
    by: ProxyRules,
    octets: bytes,
    said: list[Answer],
    cuts: list[int],
    moves: bool,
    splices: bool,
    hasty: bool,
) -> None:
    whole = Play(by, octets, said, hasty=hasty).run()
    assert Play(by, octets, said, cuts, moves, splices, hasty).run() == whole


@given(rules, streams, answers)
@settings(max_examples=40, deadline=None)
def test_octet_by_octet_and_process_by_process(
    by: ProxyRules, octets: bytes, said: list[Answer]
) -> None:
    whole = Play(by, octets, said).run()
    assert Play(by, octets, said, [*range(1000)], moves=True, splices=True).run() == whole


client_octets = st.one_of(
    st.sampled_from(REQUESTS),
    st.binary(max_size=40),
    st.builds(lambda octet, times: octet * times, st.binary(min_size=1, max_size=1), st.just(9000)),
)
server_octets = st.one_of(
    st.sampled_from([answer.octets for answer in ANSWERS]), st.binary(max_size=40)
)
feeds = st.lists(
    st.tuples(
        st.sampled_from(["client", "server", "ends", "leaves"]), client_octets, server_octets
    ),
    max_size=30,
)


@given(rules, feeds)
@thorough
def test_whatever_comes_nothing_raises_and_nothing_grows(
    by: ProxyRules, script: list[tuple[str, bytes, bytes]]
) -> None:
    """Both sides in any order, more than is asked for; ends in the middle."""
    machine = HttpProxy(by)
    over = False
    for kind, client, server in script:
        events: list[Event] = []
        if kind == "client" and machine.wants_client:
            events = machine.from_client(client)
        elif kind == "server" and machine.wants_server:
            events = machine.from_server(server)
        elif kind == "ends" and machine.wants_server:
            events = machine.server_ended()
        elif kind == "leaves":
            events = machine.client_ended()
        while events and isinstance(events[-1], Dial | CheckUser):
            asks_for_user = isinstance(events[-1], CheckUser)
            events += machine.user_checked(True) if asks_for_user else machine.connected(SOURCE)
        assert not over or events == []
        over = over or (bool(events) and isinstance(events[-1], HangUp | Tunnel))
        state = machine.state()
        assert len(state["client"]) < http_head.LIMIT + 9000
        assert len(state["server"]) < http_head.LIMIT
        if over:
            assert not state["client"]
            assert not machine.wants_client
            assert not machine.wants_server


# -- smuggling ---------------------------------------------------------------------------------


def requests_read(octets: bytes) -> list[bytes]:
    """The request lines that a server reads in *octets*, which have to be well formed."""
    buffer, found = bytearray(octets), []
    reader = HeadReader(of_requests=True)
    while (head := reader.take(buffer)) is not None:
        request = http_head.request(head)
        found.append(request.method)
        body = body_framing.of_request(request.fields, request.minor)
        body.feed(buffer)
        if not body.over:
            break
    return found


FRAMINGS = [
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"content-length:30\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding:\tchunked\r\n",
    b"Transfer-Encoding: chunked\n",
    b"X: y\rTransfer-Encoding: chunked\r\n",
    b"Connection: Transfer-Encoding, Content-Length\r\n",
    b"\r\n",
    b"X: y\r\n Content-Length: 5\r\n",
]
BODIES = [
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"5;\nhello\r\n",
    b"DELETE http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"\r\n",
]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(FRAMINGS), max_size=3).map(b"".join),
            st.lists(st.sampled_from(BODIES), max_size=3).map(b"".join),
        ),
        max_size=3,
    )
)
@thorough
def test_a_server_reads_as_many_requests_as_it_is_asked(parts: list[tuple[bytes, bytes]]) -> None:
    octets = b"".join(
        b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\n" + fields + b"\r\n" + body
        for fields, body in parts
    )
    said = [Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")] * 10
    events = Play(RULES[0], octets, said).run()
    dialled = sum(isinstance(event, Dial) for event in events)
    sent = [event.data for event in events if isinstance(event, ToServer)]
    # Requests other than safe ones go by connections of their own.
    assert len([method for data in sent for method in requests_read(data)]) == dialled


@pytest.mark.parametrize("line", [b"A: b\r\nX: y", b"A: b\nX: y", b"A: b\rX: y", b"A: b\0X: y"])
def test_no_field_is_injected_by_a_target(line: bytes) -> None:
    octets = b"GET http://example.org/" + line + b" HTTP/1.1\r\nHost: example.org\r\n\r\n"
    events = Play(RULES[0], octets, []).run()
    assert not any(isinstance(event, Dial | ToServer) for event in events)


names = st.from_regex(rb"[A-Za-z-]{1,12}", fullmatch=True)
values = st.binary(max_size=12).filter(lambda value: b"\r\n" not in value)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_every_field_that_a_server_reads_was_a_field(fields: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(b"X-%s:%s\r\n" % pair for pair in fields)
    octets = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n" + lines + b"\r\n"
    for event in Play(RULES[0], octets, []).run():
        if isinstance(event, ToServer):
            read = re.findall(rb"\r\n([^:\r\n]+):", event.data)
            sent = [b"X-" + name for name, _ in fields]
            assert [name for name in read if name not in (b"Host", b"Via")] == sent
