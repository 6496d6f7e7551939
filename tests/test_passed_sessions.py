"""Sessions of clients that were passed on: their leg is a UNIX stream."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.proxy.proxy_events import SOCKS5
from faith.relay.proxy.passed_clients import Introduction, channel, pass_on
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.relay.tcp.record import REFUSED
from faith.translation import reasons
from faith.translation.networks import Networks
from faith.translation.ports import ALL_PORTS
from tests.association_bench import UdpEnd, to
from tests.proxy_bench import Client, ProxyBench, Server, new_bench
from tests.test_proxy_handover import move

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

PROXY = ProxySettings("127.0.0.1", 3129, tls=True, connect_ports=ALL_PORTS)
FROM, AT = ("127.0.0.44", 40000), ("127.0.0.1", 3129)


class Passing:
    """The channel to the relay of a bench, and clients that come from it."""

    def __init__(self, bench: ProxyBench) -> None:
        self.bench = bench
        self.receiving, self.sending = channel()
        self.serve()

    def serve(self, *more: tuple[_socket.socket, ProxySettings]) -> None:
        self.bench.relay.serve_proxies([(self.receiving, PROXY), *more])

    def client(self, told: Introduction | None = None) -> Client:
        near, far = socket.socketpair()
        client = self.bench.keep(near)
        with far:
            pass_on(self.sending, far.fileno(), told or Introduction(FROM, AT, AT))
        return client

    def tunnel(self, server: Server) -> tuple[Client, Client]:
        client = self.client()
        port = server.port.to_bytes(2, "big")
        client.say(b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1" + port)
        assert client.hear(12)[:4] == b"\5\0\5\0"
        return client, server.accept()

    def close(self) -> None:
        self.receiving.close()
        self.sending.close()


@pytest.fixture
def bench() -> Iterator[ProxyBench]:
    yield from new_bench("uvloop")


@pytest.fixture
def passing(bench: ProxyBench) -> Iterator[Passing]:
    passing = Passing(bench)
    yield passing
    bench.relay.serve_proxies([])
    passing.close()


def test_octets_both_ways_in_bulk_and_half_closes(bench: ProxyBench, passing: Passing) -> None:
    client, server = passing.tunnel(bench.server())
    up, down = os.urandom(2_000_000), os.urandom(2_000_000)
    for near, far, data in ((client, server, up), (server, client, down)):
        sent = 0
        got = bytearray()
        while len(got) < len(data):
            if sent < len(data):
                step = data[sent : sent + 200_000]
                view = memoryview(step)
                while view:
                    try:
                        view = view[near.sock.send(view) :]
                    except BlockingIOError:
                        got += far.hear(1)
                sent += len(step)
            got += far.hear(min(len(data) - len(got), sent - len(got)))
        assert got == data
    server.end()
    assert client.hear_all() == b""
    client.say(b"after its end")
    assert server.hear(13) == b"after its end"
    client.end()
    assert server.hear_all() == b""
    record = bench.record()
    assert record.end == reasons.CLOSED
    assert (record.client, record.mapped, record.method) == (FROM, AT, SOCKS5)
    assert (record.sent, record.received) == (len(up) + 13, len(down))


def test_a_client_that_is_gone_is_a_reset_behind_its_data(
    bench: ProxyBench, passing: Passing
) -> None:
    client, server = passing.tunnel(bench.server())
    client.say(b"last words")
    client.close()
    assert server.hear(10) == b"last words"
    with pytest.raises(ConnectionResetError):
        bench.until(lambda: server.received() is not None)
    assert bench.record().end == "client reset"


def test_a_client_that_has_ended_and_is_gone_then(bench: ProxyBench, passing: Passing) -> None:
    client, server = passing.tunnel(bench.server())
    client.end()
    assert server.hear_all() == b""
    client.close()
    assert bench.record().end == "client reset"


def test_a_server_that_resets(bench: ProxyBench, passing: Passing) -> None:
    client, server = passing.tunnel(bench.server())
    server.say(b"last words")
    bench.turn()
    server.reset()
    assert client.hear_all() == b"last words"
    assert bench.record().end == "server reset"


def test_an_urgent_octet_keeps_its_place(bench: ProxyBench, passing: Passing) -> None:
    client, server = passing.tunnel(bench.server())
    server.say(b"before")
    server.sock.send(b"!", socket.MSG_OOB)
    server.say(b"after")
    assert client.hear(12) == b"before!after"


def test_an_upgrade(bench: ProxyBench, passing: Passing) -> None:
    client, server = passing.tunnel(bench.server())
    greeting = passing.client()
    greeting.say(b"\5")
    bench.until(lambda: len(bench.relay.sessions()) == 2)
    assert move(bench) == 2
    passing.serve()
    client.say(b"question")
    assert server.hear(8) == b"question"
    server.say(b"answer")
    assert client.hear(6) == b"answer"
    greeting.say(b"\1\0")
    assert greeting.hear(2) == b"\5\0"


def test_datagrams_are_sent_to_the_address_that_the_client_came_to(
    bench: ProxyBench, passing: Passing
) -> None:
    server = UdpEnd(bench)
    control = passing.client()
    control.say(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
    assert control.hear(2) == b"\5\0"
    reply = control.hear(10)
    assert socket.inet_ntoa(reply[4:8]) == AT[0]
    client = UdpEnd(bench, FROM[0])
    client.sock.sendto(to(*server.at) + b"question", (AT[0], int.from_bytes(reply[8:], "big")))
    server.echo()
    assert client.receive()[0].endswith(b"question")


def test_who_is_no_client_and_what_is_no_proxy(bench: ProxyBench, passing: Passing) -> None:
    other = passing.client(Introduction(FROM, AT, ("127.0.0.1", 1)))
    assert other.hear_all() == b""
    assert bench.records == []
    bench.connected = Networks(128, [])
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 127.0.0.0/24")
    client = passing.client()
    assert client.hear_all() == b""
    record = bench.record()
    assert (record.event, record.end, record.client) == (REFUSED, reasons.NOT_A_CLIENT, FROM)


def test_a_relay_that_stops_listening_leaves_clients_to_others(
    bench: ProxyBench, passing: Passing
) -> None:
    bench.relay.serve_proxies([])
    client = passing.client()
    bench.turn()
    assert bench.relay.sessions() == []
    passing.serve()
    client.say(b"\5\1\0")
    assert client.hear(2) == b"\5\0"
