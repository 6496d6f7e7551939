"""Clients of a proxy given to another relay, at every point of what they say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.translation import reasons
from tests.association_bench import Associated, Numbers, UdpEnd, to
from tests.proxy_bench import ProxyBench, new_bench
from tests.test_awaited_peer import ask5, peer, reply5
from tests.test_http_forward import answer, get, heard, post
from tests.test_proxy_client import HASH, METHODS, ask, granted, reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.relay.relay import Relay


@pytest.fixture
def bench() -> Iterator[ProxyBench]:
    yield from new_bench("uvloop")


def move(bench: ProxyBench) -> int:
    """Give all that there is to a new relay, and return how many sessions that were."""
    old, new = bench.relay, bench.new_relay()
    bench.relays.append(new)
    old.prepare()
    moved = 0

    def done() -> bool:
        nonlocal moved
        states, descriptors = old.handover.give(252)
        new.handover.adopt(json.loads(json.dumps(states)), [os.dup(one) for one in descriptors])
        for one in descriptors:
            os.close(one)
        moved += len(states)
        return not old.handover.left

    bench.until(done)
    bench.relays.remove(old)
    old.close()
    bench.relay = new
    bench.relay.serve_proxies([(bench.at, bench.proxy)])
    return moved


@pytest.mark.parametrize("method", METHODS)
def test_a_request_in_pieces(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    bench.serve(connect_ports={server.port})
    client = bench.client()
    for octet in ask(method, "www.example.org", server.port):
        client.say(bytes((octet,)))
        bench.turn()
        assert move(bench) == 1
        bench.turn()
    granted(method, client)
    at = server.accept()
    client.say(b"question")
    assert at.hear(8) == b"question"
    client.close()
    at.close()
    record = bench.record()
    assert (record.method, record.asked) == (method, ("www.example.org", server.port))


def test_a_client_that_has_said_nothing(bench: ProxyBench) -> None:
    client = bench.client()
    bench.until(lambda: bench.open)
    assert move(bench) == 1
    assert bench.stages() == ["greeting"]
    client.say(b"\5\1\0")
    assert client.hear(2) == b"\5\0"


@pytest.mark.parametrize("method", METHODS)
def test_a_tunnel(bench: ProxyBench, method: str) -> None:
    client, at, server = reach(bench, method)
    move(bench)
    (session,) = bench.relay.sessions()
    assert session.fields(0)["asked"] == f"www.example.org:{server.port}"
    client.say(b"to")
    assert at.hear(2) == b"to"
    at.close()
    client.close()
    assert bench.record().method == method


@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_is_dialled(bench: ProxyBench, method: str) -> None:
    """It is dialled anew, and by then it answers."""
    server = bench.full_server()
    bench.serve(connect_ports={server.port})
    client = bench.client(ask(method, "127.0.0.1", server.port) + b"early")
    bench.until(lambda: bench.stages() == ["dialling"])
    server.accept()
    move(bench)
    at = server.accept()
    granted(method, client)
    assert at.hear(5) == b"early"
    client.close()


def test_a_request_whose_server_is_dialled(bench: ProxyBench) -> None:
    server = bench.full_server()
    client = bench.client(get(server, "/page"))
    bench.until(lambda: bench.stages() == ["dialling"])
    server.accept()
    move(bench)
    at = server.accept()
    assert at.hear_head().startswith(b"GET /page ")
    at.say(answer(b"page"))
    assert heard(client) == b"page"


def test_a_dial_that_fails_afterwards(bench: ProxyBench) -> None:
    bench.settings = bench.relay.settings = replace(bench.settings, connect_timeout=0.3)
    client = bench.client(ask("socks4", "127.0.0.1", bench.full_server().port))
    bench.until(lambda: bench.stages() == ["dialling"])
    move(bench)
    assert client.hear_all()[:2] == b"\0\x5b"
    assert bench.record().end == reasons.TIMEOUT


def test_a_connection_that_is_kept_alive(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client()
    client.say(get(server))
    at = server.accept()
    for turn in range(3):
        at.hear_head()
        at.say(answer(b"page %d" % turn))
        assert heard(client) == b"page %d" % turn
        assert move(bench) == 1
        assert bench.stages() == ["open"]
        client.say(get(server))
    assert server.has_none()
    at.hear_head()
    at.say(answer(b"the last"))
    assert heard(client) == b"the last"
    client.close()
    record = bench.record()
    assert (record.end, record.method) == ("closed", "http")
    assert record.received > 3 * 40


def test_one_without_a_server(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(get(server))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page", "Connection: close\r\n"))
    assert heard(client) == b"page"
    assert bench.record().end == "closed"
    move(bench)
    assert bench.stages() == ["greeting"]
    client.say(get(server, "/next"))
    assert server.accept().hear_head().startswith(b"GET /next ")


@pytest.mark.parametrize("forth", [True, False])
def test_a_long_body(bench: ProxyBench, forth: bool) -> None:
    """It is moved once with a pipe that is full, and once in the middle of nothing."""
    server = bench.server()
    size = 40_000_000
    data = os.urandom(size)
    client = bench.client(post(server, size) if forth else get(server))
    at = server.accept()
    at.hear_head()
    source, sink = (client, at) if forth else (at, client)
    if not forth:
        at.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        client.hear_head()
    left, got = memoryview(data), bytearray()
    stuck = 0

    def fill() -> bool:
        nonlocal left, stuck
        try:
            left = left[source.sock.send(left) :]
            stuck = 0
        except BlockingIOError:
            stuck += 1
        return stuck > 30

    def done() -> bool:
        fill()
        with contextlib.suppress(BlockingIOError):
            got.extend(sink.sock.recv(1 << 20))
        return len(got) == size

    bench.until(fill)
    (session,) = bench.relay.sessions()
    forward = bench.relay._proxies._clients[session]._forward
    assert forward
    assert (forward._up if forth else forward._down).piped
    move(bench)
    got.extend(sink.hear(1_000_000))
    move(bench)
    bench.until(done, 30)
    assert got == data
    if forth:
        at.say(answer(b"thanks"))
        assert heard(client) == b"thanks"
    client.say(get(server, "/next"))
    assert at.hear_head().startswith(b"GET /next ")
    at.say(answer(b"the next"))
    assert heard(client) == b"the next"
    client.close()
    record = bench.record()
    assert (record.sent if forth else record.received) > size


def test_one_that_is_hanging_up(bench: ProxyBench) -> None:
    client = bench.client(b"\5\1\7")
    assert client.hear(2) == b"\5\xff"
    bench.record()
    assert move(bench) == 1
    assert client.hear_all() == b""
    client.close()
    bench.until(lambda: not bench.open)
    assert not bench.records


def test_a_password_that_is_looked_at_is_waited_for(bench: ProxyBench) -> None:
    bench.serve(users={"alice": "hash"})
    client = bench.client(b"\5\1\2\1\5alice\6secret")
    bench.turn()
    move(bench)
    assert client.hear(4) == b"\5\2\1\1"
    assert bench.record().end == reasons.WRONG_PASSWORD


def basic(user: str) -> str:
    words = base64.b64encode(f"{user}:secret".encode()).decode()
    return f"Proxy-Authorization: Basic {words}\r\n"


def test_the_users_of_a_connection(bench: ProxyBench) -> None:
    server = bench.server()
    bench.serve(users={"alice": HASH, "bob": HASH})
    client = bench.client(get(server, fields=basic("alice")))
    at = server.accept()
    for _ in range(2):
        at.hear_head()
        at.say(answer(b"for alice"))
        assert heard(client) == b"for alice"
        move(bench)
        client.say(get(server, fields=basic("alice")))
    at.hear_head()
    at.say(answer(b"for alice"))
    assert heard(client) == b"for alice"
    client.say(get(server, fields=basic("bob")))
    assert at.hear_all() == b""
    assert bench.record().user == "alice"
    other = server.accept()
    other.hear_head()
    move(bench)
    client.reset()
    assert bench.record().user == "bob"


def test_the_user_of_datagrams(bench: ProxyBench) -> None:
    bench.serve(users={"alice": HASH})
    control = bench.client(b"\5\1\2\1\5alice\6secret\5\3\0\1\0\0\0\0\0\0")
    reply = control.hear(14)
    assert reply[:8] == b"\5\2\1\0\5\0\0\1"
    move(bench)
    server, client = UdpEnd(bench), UdpEnd(bench)
    proxy = socket.inet_ntoa(reply[8:12]), int.from_bytes(reply[12:], "big")
    client.sock.sendto(to(*server.at) + b"data", proxy)
    server.receive()
    client.sock.sendto(to("127.0.1.1", 9) + b"data", proxy)
    found = bench.record(), bench.record()
    assert [(one.event, one.user) for one in found] == [("start", "alice"), ("refused", "alice")]
    control.close()
    record = bench.record()
    assert (record.event, record.user) == ("end", "alice")


def test_what_is_not_taken_can_be_taken_back(bench: ProxyBench) -> None:
    client = bench.client(b"\5\1\0")
    assert client.hear(2) == b"\5\0"
    relay: Relay = bench.relay
    relay.prepare()
    states, descriptors = relay.handover.give(252)
    relay.handover.adopt(states, descriptors)
    relay.stay()
    server = bench.server()
    client.say(ask("socks5", "127.0.0.1", server.port)[3:])
    assert client.hear(10)[:2] == b"\5\0"


# -- BIND, and UDP ASSOCIATE ---------------------------------------------------------------------


def test_a_peer_that_is_waited_for(bench: ProxyBench) -> None:
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    assert move(bench) == 1
    assert bench.stages() == ["listening"]
    assert peer(bench, at, "127.0.0.6").hear_all() == b""
    server = peer(bench, at, "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()
    server.say(b"data")
    assert client.hear(4) == b"data"
    server.close()
    client.close()
    record = bench.record()
    assert (record.source, record.asked) == (at, ("127.0.0.5", 21))


def test_an_association(bench: ProxyBench) -> None:
    servers = [UdpEnd(bench), UdpEnd(bench, "::1")]
    client, numbers = Associated(bench), Numbers(bench)
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    client.say(b"first", "www.example.org", servers[0].at[1])
    client.say(b"question", *servers[1].at)
    sources = [server.echo() for server in servers]
    answers = [client.hear() for _ in servers]
    assert move(bench) == 1
    assert bench.stages() == ["open"]
    assert numbers.open == 1
    for server, source in zip(servers, sources, strict=True):
        server.sock.sendto(b"late answer", source)
        assert client.hear() == (b"late answer", server.at)
    client.say(b"and more", "www.example.org", servers[0].at[1])
    assert servers[0].echo() == sources[0]
    assert client.hear() == (b"and more", servers[0].at)
    assert bench.names.asked == ["www.example.org"]
    stranger = UdpEnd(bench)
    stranger.sock.sendto(to(*servers[0].at) + b"no", client.proxy)
    assert servers[0].has_none()
    client.control.close()
    bench.until(lambda: not bench.relay.sessions())
    ends = {one.server: (one.sent, one.received) for one in bench.records if one.end}
    assert ends == {servers[0].at: (13, 24), servers[1].at: (8, 19)}
    assert len(answers) == 2
    assert numbers.open == 0


def test_an_association_that_nothing_has_come_from(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    assert move(bench) == 1
    client.say(b"question", *server.at)
    server.echo()
    assert client.hear() == (b"question", server.at)


def test_what_waits_for_a_name_goes_along(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.names, "look_up", lambda name, found, client: bench.names)
        client.say(b"question", "www.example.org", server.at[1])
        bench.until(bench.relay.sessions)
        bench.turn()
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    assert move(bench) == 1
    assert server.receive()[0] == b"question"


def test_a_destination_that_the_policy_of_the_taker_refuses(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    server.receive()
    bench.policy = bench.policy_of("127.0.0.0/8 deny 127.0.0.0/8")
    assert move(bench) == 1
    client.say(b"no more", *server.at)
    bench.until(lambda: numbers.refused(reasons.DENIED))
    assert server.has_none()


# -- everything at once --------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its body, and now and then leave after it."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
            body = await reader.readexactly(size)
            leaves = b"/leave" in head
            fields = b"Connection: close\r\n" if leaves else b""
            writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (fields, size))
            writer.write(body)
            await writer.drain()
            if leaves:
                break
    writer.close()


async def talk(bench: ProxyBench, port: int, chance: random.Random) -> None:
    """Be a client that asks for many things, each of which comes back."""
    host, at = bench.at.getsockname()
    reader, writer = await asyncio.open_connection(host, at)
    for _ in range(12):
        body = chance.randbytes(chance.choice([0, 10, 70_000, 900_000]))
        path = chance.choice(["stay", "stay", "leave"])
        head = f"POST http://127.0.0.1:{port}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answered
        assert await reader.readexactly(len(body)) == body
    writer.close()
    await writer.wait_closed()


def test_many_clients_that_are_moved_about() -> None:
    for bench in new_bench("asyncio"):  # a server of uvloop's leaves a descriptor with its loop
        _move_about(bench)


def _move_about(bench: ProxyBench) -> None:
    chance = random.Random(19)
    server = bench.loop.run_until_complete(asyncio.start_server(echo, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    clients = [bench.loop.create_task(talk(bench, port, random.Random(seed))) for seed in range(6)]
    moves = 0
    while not all(client.done() for client in clients):
        bench.loop.run_until_complete(asyncio.sleep(chance.uniform(0, 0.02)))  # time: to move in
        move(bench)
        moves += 1
    for client in clients:
        client.result()
    assert moves > 5
    bench.until(lambda: not bench.open)
    assert {record.end for record in bench.records} == {"closed"}
    server.close()
    bench.loop.run_until_complete(server.wait_closed())
    bench.until(lambda: len(asyncio.all_tasks(bench.loop)) == 1)
