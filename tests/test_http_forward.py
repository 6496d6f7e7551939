"""HTTP forwarded between real sockets: connections kept, pipelining, bodies, upgrades, ends."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from faith.relay.proxy.body_splice import BULK
from faith.translation import reasons
from tests.proxy_bench import Client, ProxyBench, Server, new_bench
from tests.test_proxy_client import connect, granted

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[ProxyBench]:
    yield from new_bench(request.param)


def get(server: Server, path: str = "/", fields: str = "") -> bytes:
    at = f"127.0.0.1:{server.port}"
    return f"GET http://{at}{path} HTTP/1.1\r\nHost: {at}\r\n{fields}\r\n".encode()


def post(server: Server, length: int) -> bytes:
    at = f"127.0.0.1:{server.port}"
    head = f"POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


def answer(text: bytes, fields: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(text)}\r\n\r\n".encode() + text


def heard(client: Client) -> bytes:
    """The body of the next answer, by its Content-Length."""
    head = client.hear_head()
    assert head.startswith(b"HTTP/1.1 200 "), head
    return client.hear(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))


def test_one_connection_for_many_requests(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client()
    client.say(get(server, "/0"))
    at = server.accept()
    (session,) = bench.relay.sessions()
    assert bench.stages() == ["open"]
    assert session.fields(0)["asked"] == f"127.0.0.1:{server.port}"
    for turn in range(5):
        if turn:
            client.say(get(server, f"/{turn}"))
        assert at.hear_head().startswith(f"GET /{turn} HTTP/1.1\r\n".encode())
        at.say(answer(b"page %d" % turn))
        assert heard(client) == b"page %d" % turn
    assert server.has_none()
    assert not bench.records
    client.close()
    record = bench.record()
    assert (record.end, record.method) == ("closed", "http")
    assert record.asked == ("127.0.0.1", server.port)
    assert record.sent > 5 * 20
    assert record.received > 5 * 40
    assert at.hear_all() == b""
    bench.until(lambda: not bench.open)
    assert not bench.records


def test_an_answer_has_the_date_of_now(bench: ProxyBench) -> None:
    server = bench.server()
    before = int(time.time())
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    date = client.hear_head().partition(b"Date: ")[2].split(b"\r")[0].decode()
    assert before <= parsedate_to_datetime(date).timestamp() <= time.time()
    client = bench.client(b"GET /\r\n\r\n")
    assert b"\r\nDate: " in client.hear_head()


def test_a_session_for_each_server(bench: ProxyBench) -> None:
    servers = bench.server(), bench.server()
    client = bench.client()
    for server in (*servers, servers[0]):
        client.say(get(server))
        at = server.accept()
        at.hear_head()
        at.say(answer(b"from %d" % server.port))
        assert heard(client) == b"from %d" % server.port
        assert len(bench.relay.sessions()) == 1
    assert [bench.record().server for _ in range(2)] == [
        ("127.0.0.1", server.port) for server in servers
    ]
    client.close()
    assert bench.record().server == ("127.0.0.1", servers[0].port)
    assert bench.ended("closed") == 3
    assert len(bench.begun) == 3


def test_a_server_that_ends_is_dialled_again(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"once"))
    assert heard(client) == b"once"
    at.close()
    record = bench.record()
    assert record.end == "closed"
    assert bench.stages() == ["greeting"]
    client.say(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"twice"))
    assert heard(client) == b"twice"


def test_pipelined_requests_are_answered_in_order(bench: ProxyBench) -> None:
    servers = bench.server(), bench.server()
    client = bench.client(b"".join(get(servers[turn % 2], f"/{turn}") for turn in range(4)))
    for turn in range(4):
        at = servers[turn % 2].accept()
        assert at.hear_head().startswith(f"GET /{turn} ".encode())
        at.say(answer(b"%d" % turn))
        assert heard(client) == b"%d" % turn


@pytest.mark.parametrize("size", [BULK - 1, BULK, 5_000_000])
def test_a_long_answer(bench: ProxyBench, size: int) -> None:
    server = bench.server()
    body = os.urandom(size)
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    pour(bench, at, answer(body), client, len(body), body)
    client.say(get(server, "/next"))
    assert at.hear_head().startswith(b"GET /next ")
    at.say(answer(b"short"))
    assert heard(client) == b"short"
    client.close()
    record = bench.record()
    assert record.received > size


def pour(
    bench: ProxyBench, source: Client, data: bytes, sink: Client, size: int, body: bytes
) -> None:
    """Have *source* send *data* while *sink* reads its head and *size* octets."""
    view, got = memoryview(data), bytearray()

    def done() -> bool:
        nonlocal view
        with contextlib.suppress(BlockingIOError):
            view = view[source.sock.send(view[:100_000]) :]
        with contextlib.suppress(BlockingIOError):
            got.extend(sink.sock.recv(1 << 20))
        _, found, rest = bytes(got).partition(b"\r\n\r\n")
        return bool(found) and len(rest) >= size

    bench.until(done, 30)
    assert bytes(got).partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("size", [BULK - 1, 5_000_000])
def test_a_long_request(bench: ProxyBench, size: int) -> None:
    server = bench.server()
    body = os.urandom(size)
    client = bench.client(post(server, size)[:10])
    client.say(post(server, size)[10:])
    at = server.accept()
    pour(bench, client, body, at, size, body)
    at.say(answer(b"thanks"))
    assert heard(client) == b"thanks"
    client.close()
    assert bench.record().sent > size


def test_both_bodies_at_once(bench: ProxyBench) -> None:
    server = bench.server()
    size = 3_000_000
    client = bench.client(post(server, size))
    at = server.accept()
    at.hear_head()
    at.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    client.hear_head()
    there, back = os.urandom(size), os.urandom(size)
    got = {client: bytearray(), at: bytearray()}
    left = {client: memoryview(there), at: memoryview(back)}

    def done() -> bool:
        for peer in (client, at):
            with contextlib.suppress(BlockingIOError):
                left[peer] = left[peer][peer.sock.send(left[peer][:100_000]) :]
            with contextlib.suppress(BlockingIOError):
                got[peer].extend(peer.sock.recv(1 << 20))
        return len(got[at]) == len(got[client]) == size

    bench.until(done, 30)
    assert got[at] == there
    assert got[client] == back


def test_a_chunked_answer(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n")
    assert b"chunked" in client.hear_head()
    chunks = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    assert client.hear(len(chunks)) == chunks
    client.say(get(server, "/next"))
    assert at.hear_head().startswith(b"GET /next ")


def test_100_continue(bench: ProxyBench) -> None:
    server = bench.server()
    head = post(server, 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    client = bench.client(head)
    at = server.accept()
    assert b"100-continue" in at.hear_head()
    at.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.hear_head().startswith(b"HTTP/1.1 100 ")
    client.say(b"hello")
    assert at.hear(5) == b"hello"
    at.say(answer(b"yes"))
    assert heard(client) == b"yes"


def test_an_upgrade_is_a_tunnel(bench: ProxyBench) -> None:
    server = bench.server()
    fields = "Connection: upgrade\r\nUpgrade: websocket\r\n"
    client = bench.client(get(server, fields=fields))
    at = server.accept()
    assert b"pgrade: websocket" in at.hear_head()
    at.say(b"HTTP/1.1 101 Now\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
    assert client.hear_head().startswith(b"HTTP/1.1 101 ")
    assert client.hear(5) == b"first"
    client.say(b"to")
    assert at.hear(2) == b"to"
    at.say(b"fro")
    assert client.hear(3) == b"fro"
    (session,) = bench.relay.sessions()
    assert session in bench.relay._plane.sessions()
    client.end()
    assert at.hear_all() == b""
    at.close()
    record = bench.record()
    assert (record.end, record.method) == ("closed", "http")
    assert record.sent > 2


def test_connect_after_a_request(bench: ProxyBench) -> None:
    server = bench.server()
    bench.serve(connect_ports={server.port})
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    assert heard(client) == b"page"
    client.say(connect("127.0.0.1", server.port))
    assert bench.record().method == "http"
    granted("connect", client)
    second = server.accept()
    client.say(b"through")
    assert second.hear(7) == b"through"
    client.close()
    second.close()
    assert bench.record().method == "connect"


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_until_the_end(bench: ProxyBench, is_whole: bool) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert b"close" in client.hear_head()
    assert client.hear(9) == b"all of it"
    if is_whole:
        at.close()
        bench.until(lambda: client.received() == b"")
    else:
        at.reset()
        with pytest.raises(ConnectionResetError):
            bench.until(client.received)
    assert bench.record().end == ("closed" if is_whole else "server reset")


def test_a_client_that_ends_after_its_request_is_answered(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    client.end()
    at = server.accept()
    at.hear_head()
    at.say(answer(b"late"))
    assert heard(client) == b"late"
    assert client.hear_all() == b""
    assert bench.record().end == "closed"


# -- ends ----------------------------------------------------------------------------------------


def test_a_server_that_ends_instead_of_an_answer(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.close()
    assert b" 502 " in client.hear_head()
    assert bench.record().end == "closed"


def test_a_server_that_resets_in_the_middle(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
    client.hear_head()
    assert client.hear(4) == b"half"
    at.reset()
    client.hear_all()
    assert bench.record().end == "server reset"
    client.close()
    bench.until(lambda: not bench.open)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_server_that_ends_with_an_answer_before_the_request_is_whole(
    bench: ProxyBench, is_lost: bool
) -> None:
    server = bench.server()
    client = bench.client(post(server, 100 * BULK))
    at = server.accept()
    at.hear_head()
    client.sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:  # until nobody takes any more: there is some in the pipe
            client.sock.send(bytes(BULK))
            bench.turn()
    at.say(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.hear_head().startswith(b"HTTP/1.1 204 ")
    if is_lost:
        at.reset()
    else:
        at.end()
    assert bench.record().end == ("server reset" if is_lost else "closed")
    client.hear_all()
    client.close()
    bench.until(lambda: not bench.open)


def test_a_bad_request_is_no_end_of_the_server_before(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    assert heard(client) == b"page"
    client.say(b"GET nowhere\r\n\r\n")
    assert client.hear_head().startswith(b"HTTP/1.1 400 ")
    assert {bench.record().end, bench.record().end} == {
        "closed",
        "bad request: the first line is not that of a request (RFC 9112 section 3)",
    }
    assert bench.ended("closed") == bench.refused("bad request") == 1


def test_a_bad_body_is_an_end_of_the_server(bench: ProxyBench) -> None:
    server = bench.server()
    at = f"127.0.0.1:{server.port}"
    head = f"POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = bench.client(head.encode())
    server.accept().hear_head()
    client.say(b"none\r\n")
    assert client.hear_head().startswith(b"HTTP/1.1 400 ")
    assert {bench.record().end, bench.record().end} == {
        "bad request",
        "bad request: the size of a chunk is malformed (RFC 9112 section 7.1)",
    }
    assert bench.ended("bad request") == bench.refused("bad request") == 1


def test_a_client_that_is_reset_in_the_middle(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(post(server, 1_000_000) + b"half")
    at = server.accept()
    at.hear_head()
    client.reset()
    assert bench.record().end == "client reset"
    at.hear_all()
    assert not bench.open


@pytest.mark.parametrize("is_asked", [True, False])
def test_an_idle_server(bench: ProxyBench, is_asked: bool) -> None:
    bench.relay.settings = replace(bench.settings, idle_timeout=0.4)
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    if not is_asked:
        at.say(answer(b"page"))
        assert heard(client) == b"page"
    record = bench.record()
    assert record.end == reasons.IDLE
    at.hear_all()
    if is_asked:
        assert b" 504 " in client.hear_head()
    else:
        assert bench.stages() == ["greeting"]
        client.say(get(server))
        server.accept().hear_head()


def test_a_client_that_has_ended_is_not_waited_for_as_long(bench: ProxyBench) -> None:
    bench.relay.settings = replace(bench.settings, half_closed_timeout=0.4)
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    client.end()
    bench.until(lambda: bench.stages() == ["half-closed"])
    assert bench.record().end == reasons.IDLE_HALF_CLOSED
    assert at.hear_all() == b""


def test_kill(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    (session,) = bench.relay.sessions()
    bench.relay.kill(session)
    assert client.hear_all() == b""
    assert at.hear_all() == b""
    assert bench.record().end == reasons.KILLED
    assert not bench.open


def test_who_has_nothing_more_to_ask_is_left_without_a_word(bench: ProxyBench) -> None:
    bench.relay.settings = replace(bench.settings, greeting_timeout=0.2)
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    assert heard(client) == b"page"
    assert client.hear_all() == b""
    assert at.hear_all() == b""
    assert bench.record().end == "closed"
    client.close()
    bench.until(lambda: not bench.open)
    assert not bench.records


def test_a_head_that_is_trickled(bench: ProxyBench) -> None:
    bench.relay.settings = replace(bench.settings, greeting_timeout=0.3)
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    assert heard(client) == b"page"
    client.say(b"GET http://")
    bench.turn()
    client.say(b"example")
    assert b" 408 " in client.hear_head()
    assert bench.record().end == reasons.GREETING


def test_a_slow_client_holds_the_server_back(bench: ProxyBench) -> None:
    server = bench.server()
    bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    quiet = 0

    def stuck() -> bool:
        nonlocal sent, quiet
        try:
            sent += at.sock.send(chunk[sent % len(chunk) :])
            quiet = 0
        except BlockingIOError:
            quiet += 1
        return quiet > 50

    bench.until(stuck, 30)
    (session,) = bench.relay.sessions()
    proxied = bench.relay._proxies._clients[session]
    assert len(proxied._client.waiting) < 300_000
