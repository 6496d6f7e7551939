"""BIND of SOCKS over real sockets: one connection, of the host that was named, and no other."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.relay.proxy import awaited_peer
from faith.relay.tcp.record import REFUSED
from faith.translation import reasons
from tests.proxy_bench import Client, ProxyBench, new_bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "ftp.example.org"


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[ProxyBench]:
    yield from new_bench(request.param)


def ask5(bench: ProxyBench, host: str, port: int = 21) -> Client:
    name = host.encode()
    asked = b"\5\2\0\3" + bytes((len(name),)) + name + struct.pack("!H", port)
    client = bench.client(b"\5\1\0" + asked)
    assert client.hear(2) == b"\5\0"
    return client


def reply5(client: Client) -> tuple[str, int]:
    """Return the endpoint of the next reply."""
    head = client.hear(4)
    assert head[:3] == b"\5\0\0", head
    family, size = (socket.AF_INET, 4) if head[3] == 1 else (socket.AF_INET6, 16)
    octets = client.hear(size + 2)
    return socket.inet_ntop(family, octets[:-2]), int.from_bytes(octets[-2:], "big")


def ask4(bench: ProxyBench, host: str, port: int = 21) -> Client:
    if host[0].isdigit():
        return bench.client(b"\4\2" + struct.pack("!H", port) + socket.inet_aton(host) + b"\0")
    named = b"\0\0\0\1\0" + host.encode() + b"\0"
    return bench.client(b"\4\2" + struct.pack("!H", port) + named)


def reply4(client: Client) -> tuple[str, int]:
    octets = client.hear(8)
    assert octets[:2] == b"\0\x5a", octets
    return socket.inet_ntoa(octets[4:]), int.from_bytes(octets[2:4], "big")


def peer(bench: ProxyBench, to: tuple[str, int], host: str) -> Client:
    """Return a connection from *host*."""
    return bench.keep(socket.create_connection(to, source_address=(host, 0)))


both = pytest.mark.parametrize(("ask", "reply"), [(ask5, reply5), (ask4, reply4)])


@both
@pytest.mark.parametrize("host", ["127.0.0.5", NAME])
def test_a_connection_of_the_host(
    bench: ProxyBench,
    ask: Callable[[ProxyBench, str], Client],
    reply: Callable[[Client], tuple[str, int]],
    host: str,
) -> None:
    bench.names.known[NAME] = ("127.0.0.5",)
    client = ask(bench, host)
    at = reply(client)
    assert at[0] == "127.0.0.1", "the address that the host sees the proxy by"
    assert bench.stages() == ["listening"]
    assert bench.relay.sessions()[0].fields(0)["asked"] == f"{host}:21"
    server = peer(bench, at, "127.0.0.5")
    server.say(b"before the client knows, ")
    assert reply(client) == server.sock.getsockname()
    assert bench.stages() == ["open"]
    data = os.urandom(200_000)
    server.say(data)
    server.end()
    assert client.hear_all() == b"before the client knows, " + data
    client.say(b"back")
    client.end()
    assert server.hear_all() == b"back"
    record = bench.record()
    assert record.end == reasons.CLOSED
    assert record.source == at
    assert record.server == server.sock.getsockname()
    assert record.asked == (host, 21)
    assert (record.sent, record.received) == (4, len(data) + 25)
    assert bench.begun
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at)


def test_an_ipv6_host(bench: ProxyBench) -> None:
    client = ask5(bench, "::1")
    at = reply5(client)
    assert at[0] == "::1"
    server = peer(bench, at, "::1")
    assert reply5(client) == server.sock.getsockname()[:2]
    client.say(b"data")
    assert server.hear(4) == b"data"


def test_strangers_are_reset_and_counted(bench: ProxyBench) -> None:
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    for count in 1, 2:
        stranger = peer(bench, at, f"127.0.0.{5 + count}")
        assert stranger.hear_all() == b""
        assert bench.refused(reasons.NOT_EXPECTED) == count
    server = peer(bench, at, "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()


@pytest.mark.parametrize(
    ("host", "why", "code"),
    [
        ("127.0.1.5", reasons.DENIED, 2),
        ("192.0.2.1", reasons.NO_RULE, 2),
        ("0.0.0.0", reasons.NO_RULE, 2),
        ("nowhere.example.org", reasons.NO_NAME, 4),
    ],
)
def test_a_host_that_may_not_come(bench: ProxyBench, host: str, why: str, code: int) -> None:
    client = ask5(bench, host)
    assert client.hear_all()[:2] == bytes((5, code))
    record = bench.record()
    assert (record.event, record.end) == (REFUSED, why)
    assert (record.method, record.asked) == ("socks5", (host, 21))
    assert bench.refused(why) == 1


def test_the_first_address_of_a_name_that_may_come(bench: ProxyBench) -> None:
    bench.names.known[NAME] = ("127.0.1.5", "127.0.0.5")
    client = ask5(bench, NAME)
    server = peer(bench, reply5(client), "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()


def test_a_host_without_a_way_to_it(bench: ProxyBench) -> None:
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 255.255.255.255")
    client = ask5(bench, "255.255.255.255")
    assert client.hear_all()[:2] in (b"\5\4", b"\5\2")
    assert bench.record().event == REFUSED


def test_the_source_that_a_rule_names(bench: ProxyBench) -> None:
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 127.0.0.0/8 127.0.0.77")
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    assert at[0] == "127.0.0.77"
    server = peer(bench, at, "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()


def test_a_source_that_this_host_has_not(bench: ProxyBench) -> None:
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 127.0.0.0/8 192.0.2.77")
    client = ask5(bench, "127.0.0.5")
    assert client.hear_all()[:2] == b"\5\1"
    assert bench.record().end == reasons.NO_SOURCE


def test_nobody_comes(bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited_peer, "OPEN_FOR", 0.1)
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    assert client.hear_all()[:2] == b"\5\6"
    assert bench.record().end == reasons.TIMEOUT
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at)


@pytest.mark.parametrize("how", ["reset", "killed", "FIN", "data, FIN"])
def test_a_client_that_goes_while_it_waits(bench: ProxyBench, how: str) -> None:
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    if how == "reset":
        client.reset()
    elif how.endswith("FIN"):
        client.say(b"early" * how.count("data"))
        bench.turn()
        client.end()
        assert client.hear_all() == b""
    else:
        bench.relay.kill(bench.relay.sessions()[0])
    bench.until(lambda: not bench.relay.sessions())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at)


def test_a_client_that_goes_is_recorded_once(bench: ProxyBench) -> None:
    client = ask4(bench, "127.0.0.5")
    reply4(client)
    client.end()
    assert client.hear_all() == b""
    record = bench.record()
    assert (record.event, record.end) == (REFUSED, reasons.CLOSED)
    assert (record.method, record.asked) == ("socks4", ("127.0.0.5", 21))
    assert not bench.open
    assert not bench.records


def test_a_client_that_says_no_more_when_the_host_has_come(bench: ProxyBench) -> None:
    client = ask5(bench, "127.0.0.5")
    server = peer(bench, reply5(client), "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()
    client.end()
    assert server.hear_all() == b""
    server.say(b"data")
    server.end()
    assert client.hear_all() == b"data"


def test_what_a_client_says_while_it_waits_is_for_the_host(bench: ProxyBench) -> None:
    client = ask5(bench, "127.0.0.5")
    at = reply5(client)
    client.say(b"early")
    bench.turn()
    server = peer(bench, at, "127.0.0.5")
    assert reply5(client) == server.sock.getsockname()
    assert server.hear(5) == b"early"


def test_no_descriptor(bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(awaited_peer, "stream_socket", none)
    client = ask5(bench, "127.0.0.5")
    assert client.hear_all()[:2] == b"\5\1"
    assert bench.record().end.startswith(reasons.SHED)
