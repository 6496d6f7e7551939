"""The proxies of a worker: who is accepted, by which settings, and what becomes of its clients."""

from __future__ import annotations

import base64
import gc
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import listener
from faith.proxy.password_hash import hashed
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.relay.tcp.admission import Admission, Limits, Tables
from faith.translation import reasons
from faith.translation.address import number6
from faith.translation.networks import Networks
from tests.proxy_bench import Client, ProxyBench, Server, new_bench
from tests.test_http_forward import answer, get
from tests.test_proxy_client import connect, granted5, reach, socks5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


@pytest.fixture
def bench() -> Iterator[ProxyBench]:
    yield from new_bench("uvloop")


@pytest.fixture
def limited() -> Iterator[ProxyBench]:
    """A bench of which each client may have two sessions."""
    tables = Tables(1)
    tables.enter(0)
    yield from new_bench("uvloop", Admission(Limits(sessions_per_client=2), tables, 0))


def test_clients_on_other_links_are_no_clients(bench: ProxyBench) -> None:
    bench.connected = Networks(128, [(number6("192.0.2.0"), 120)])
    bench.relay.policy = bench.policy_of("")
    assert bench.client().hear_all() == b""
    record = bench.record()
    assert (record.end, record.event) == (reasons.NOT_A_CLIENT, "refused")
    assert record.mapped == bench.at.getsockname()
    assert bench.refused(reasons.NOT_A_CLIENT) == 1
    bench.connected = Networks(128, [(number6("127.0.0.0"), 104)])
    bench.relay.policy = bench.policy_of("")
    assert bench.client(b"\5\1\0").hear(2) == b"\5\0"


@pytest.mark.parametrize(
    ("network", "length", "serves"), [("127.0.0.0", 104, True), ("::", 96, False)]
)
def test_clients_that_the_settings_name(
    bench: ProxyBench, network: str, length: int, serves: bool
) -> None:
    bench.connected = Networks(128)
    bench.relay.policy = bench.policy_of("")
    bench.serve(clients=((number6(network), length),))
    client = bench.client()
    if serves:
        client.say(b"\5\1\0")
        assert client.hear(2) == b"\5\0"
    else:
        assert client.hear_all() == b""
        assert bench.record().end == reasons.NOT_A_CLIENT


def test_a_listener_for_both_families(bench: ProxyBench) -> None:
    both = socket.socket(socket.AF_INET6)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    both.bind(("::", 0))
    both.listen()
    both.setblocking(False)
    bench.keep(both)
    old, bench.at = bench.at, both
    bench.serve(ProxySettings("::", 1080))
    old.close()
    server = bench.server()
    port = both.getsockname()[1]
    for host in ("127.0.0.1", "::1"):
        client = bench.keep(socket.create_connection((host, port)))
        client.say(socks5("127.0.0.1", server.port))
        if host == "::1":  # the rules say nothing of it
            assert client.hear(4) == b"\5\0\5\2"
            record = bench.record()
        else:
            granted5(client)
            server.accept().close()
            client.close()
            record = bench.record()
        assert record.client[0] == host
        assert record.mapped == (host, port)


def test_new_settings_are_for_new_clients(bench: ProxyBench) -> None:
    server = bench.server()
    first = bench.client(b"\5\1\0")
    assert first.hear(2) == b"\5\0"
    bench.serve(methods=frozenset({"http"}))
    assert bench.client(b"\5\1\0").hear_all() == b"\5\xff"
    first.say(socks5("127.0.0.1", server.port)[3:])
    assert first.hear(10)[:2] == b"\5\0"


LOGIN = f"Proxy-Authorization: Basic {base64.b64encode(b'me:secret').decode()}\r\n"


def status(client: Client) -> bytes:
    """The status of the next answer, which says how long it is, if it is not closed."""
    head = client.hear_head()
    client.hear(int(head.partition(b"Content-Length: ")[2].split(b"\r")[0]))
    return head.split(b" ")[1]


def test_a_user_who_is_no_more(bench: ProxyBench) -> None:
    line = str(hashed(b"secret", ln=4))
    bench.serve(users={"me": line})
    client, server = bench.client(), bench.server()
    client.say(get(server, fields=LOGIN))
    at = server.accept()
    at.hear_head()
    at.say(answer(b"page"))
    assert status(client) == b"200"
    bench.serve(users={"other": line})
    client.say(get(server, fields=LOGIN))
    assert status(client) == b"407"
    bench.serve(users={"me": line})
    client.say(get(server, fields=LOGIN))
    at.hear_head()
    at.say(answer(b"page"))
    assert status(client) == b"200"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"methods": frozenset({"socks5"})}, b"403"), ({"users": {"me": "hash"}}, b"407")],
)
def test_kept_connections_are_served_by_new_settings(
    bench: ProxyBench, changes: dict[str, Any], code: bytes
) -> None:
    client, server = bench.client(), bench.server()
    client.say(get(server))
    at = server.accept()
    at.hear_head()
    bench.serve(**changes)
    at.say(answer(b"page"))
    assert status(client) == b"200", "what is asked for goes on"
    client.say(get(server))
    assert status(client) == code


@pytest.mark.parametrize("is_gone", [True, False])
@pytest.mark.parametrize("is_idle", [True, False])
def test_kept_connections_that_the_proxy_is_not_for_any_more(
    bench: ProxyBench, is_gone: bool, is_idle: bool
) -> None:
    client, server = bench.client(), bench.server()
    client.say(get(server) + (b"" if is_idle else get(server)))
    at = server.accept()
    at.hear_head()
    if is_gone:
        bench.relay.serve_proxies([])
    else:
        bench.serve(clients=((number6("192.0.2.0"), 120),))
    at.say(answer(b"page"))
    assert status(client) == b"200", "what is asked for goes on"
    if not is_idle:
        assert status(client) == b"403"
    assert client.hear_all() == b""


@pytest.mark.parametrize("is_right", [True, False])
def test_passwords_are_looked_at_while_it_drains(bench: ProxyBench, is_right: bool) -> None:
    bench.serve(users={"me": str(hashed(b"secret", ln=4))})
    client, server = bench.client(b"\5\1\2"), bench.server()
    assert client.hear(2) == b"\5\2"
    bench.relay.stop_listening()
    client.say(b"\1\2me\6" + (b"secret" if is_right else b"guess!"))
    assert client.hear(2) == (b"\1\0" if is_right else b"\1\1")
    if is_right:
        client.say(socks5("127.0.0.1", server.port)[3:])
        assert client.hear(10)[:2] == b"\5\0"


def test_a_proxy_that_is_taken_away(bench: ProxyBench) -> None:
    client, at, _ = reach(bench)
    other = listener("127.0.0.1", 0, transparent=False)
    bench.keep(other)  # type: ignore[arg-type]
    bench.relay.serve_proxies([(other, bench.proxy)])
    bench.client(b"\5\1\0")  # it is in the queue of the listener, which nobody looks at
    bench.turn()
    assert len(bench.relay.sessions()) == 1
    new = bench.keep(socket.create_connection(other.getsockname()))
    new.say(b"\5\1\0")
    assert new.hear(2) == b"\5\0"
    client.say(b"goes on")
    assert at.hear(7) == b"goes on"
    bench.relay.serve_proxies([(bench.at, bench.proxy)])
    bench.until(lambda: len(bench.relay.sessions()) == 3)


def test_limits_hold_for_clients_of_proxies(limited: ProxyBench) -> None:
    clients = [limited.client(b"\5\1\0") for _ in range(2)]
    for client in clients:
        assert client.hear(2) == b"\5\0"
    assert limited.client().hear_all() == b""
    assert limited.record().end == reasons.CLIENT
    clients[0].close()
    limited.until(lambda: limited.open == 1)
    server = limited.server()
    clients[1].say(socks5("127.0.0.1", server.port)[3:])
    assert clients[1].hear(10)[:2] == b"\5\0"
    third = limited.client(b"\5\1\0")
    assert third.hear(2) == b"\5\0"
    assert limited.client().hear_all() == b""
    clients[1].close()
    server.accept().close()
    third.close()
    limited.until(lambda: not limited.open)
    assert limited.client(b"\5\1\0").hear(2) == b"\5\0"


def test_a_place_passes_from_server_to_server(limited: ProxyBench) -> None:
    server = limited.server()
    client = limited.client()
    for _ in range(4):
        client.say(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % server.port)
        at = server.accept()
        at.hear_head()
        at.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert b" 200 " in client.hear_head()
        assert limited.record().end == "closed"
    assert limited.open == 1
    other = limited.client(b"\5\1\0")
    assert other.hear(2) == b"\5\0"
    assert limited.client().hear_all() == b""
    client.close()
    other.close()
    limited.until(lambda: not limited.open)
    assert limited.client(b"\5\1\0").hear(2) == b"\5\0"


@pytest.fixture
def paced() -> Iterator[ProxyBench]:
    """A bench of which each client may have three sessions at once, and then none for long."""
    tables = Tables(1)
    tables.enter(0)
    limits = Limits(rate_per_client=0.003, burst=1000)
    yield from new_bench("uvloop", Admission(limits, tables, 0))


def test_a_rate_holds_for_the_servers_of_one_connection(paced: ProxyBench) -> None:
    one, other = paced.server(), paced.server()
    client = paced.client()

    def ask(server: Server, at: Client | None = None) -> Client:
        client.say(get(server))
        at = at or server.accept()
        at.hear_head()
        at.say(answer(b"page"))
        assert status(client) == b"200"
        return at

    ask(one)
    ask(other)
    ask(one, ask(one))
    client.say(get(other))
    assert status(client) == b"503"
    assert [paced.record().end for _ in range(4)] == ["closed"] * 3 + [reasons.CLIENT_RATE]
    assert paced.refused(reasons.CLIENT_RATE) == 1
    assert paced.client().hear_all() == b"", "so it is of other connections"


@pytest.mark.parametrize("stage", ["greeting", "dialling"])
def test_who_has_no_server_yet_makes_room_for_others(bench: ProxyBench, stage: str) -> None:
    shares = bench.relay._accounting.shares
    said = b"\5\1\0"
    if stage == "dialling":
        said = socks5("127.0.0.1", bench.full_server().port)
    slow = [bench.client(said) for _ in range(2)]
    bench.until(lambda: bench.stages() == [stage, stage])
    shares.limit, shares.half = 2, 1
    other = bench.keep(
        socket.create_connection(bench.at.getsockname(), source_address=("127.0.0.2", 0))
    )
    other.say(b"\5\1\0")
    assert other.hear(2) == b"\5\0"
    assert bench.record().end == reasons.DISPLACED
    assert slow[0].hear_all() == b"\5\0"


# -- draining ------------------------------------------------------------------------------------


def test_a_worker_that_drains_is_idle_when_the_last_client_is_gone(bench: ProxyBench) -> None:
    client, at, _ = reach(bench)
    bench.relay.stop_listening()
    bench.turn()
    assert not bench.idled
    client.say(b"question")
    assert at.hear(8) == b"question"
    client.close()
    at.close()
    bench.until(lambda: bench.idled)


def test_a_greeting_may_end_well_while_it_drains(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(b"\5\1\0")
    assert client.hear(2) == b"\5\0"
    bench.relay.stop_listening()
    client.say(socks5("127.0.0.1", server.port)[3:])
    assert client.hear(10)[:2] == b"\5\0"
    client.close()
    server.accept().close()
    bench.until(lambda: bench.idled)


def test_connections_are_not_kept_alive_while_it_drains(bench: ProxyBench) -> None:
    client = bench.client(connect("127.0.0.1", 9))
    assert b" 403 " in client.hear_head()
    bench.relay.stop_listening()
    client.hear_all()
    client.close()
    bench.until(lambda: bench.idled)


def test_it_is_idle_at_once_without_clients(bench: ProxyBench) -> None:
    bench.relay.stop_listening()
    bench.until(lambda: bench.idled)


def test_it_serves_again(bench: ProxyBench) -> None:
    bench.relay.stop_listening()
    bench.until(lambda: bench.idled)
    bench.serve()
    client = bench.client(connect("127.0.0.1", 9))
    assert b" 403 " in client.hear_head()
    bench.turn()
    assert bench.stages() == ["greeting"]


def test_a_new_time_limit(bench: ProxyBench) -> None:
    bench.relay.settings = replace(bench.settings, greeting_timeout=0.1)
    client = bench.client(b"\4")
    assert client.hear_all() == b""
    assert bench.record().end == reasons.GREETING


def _by_socks(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(socks5("127.0.0.1", server.port))
    granted5(client)
    server.accept().close()
    client.hear_all()
    client.close()


def _refused(bench: ProxyBench) -> None:
    client = bench.client(socks5("127.0.1.1", 80))
    client.hear_all()
    client.close()


def _by_http(bench: ProxyBench) -> None:
    server = bench.server()
    url = f"http://127.0.0.1:{server.port}/"
    client = bench.client(f"GET {url} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    accepted = server.accept()
    accepted.hear_head()
    accepted.say(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.hear_head()
    client.close()
    accepted.hear_all()


@pytest.mark.parametrize("visit", [_by_socks, _refused, _by_http])
def test_no_garbage_collector_has_to_find_who_is_gone(
    bench: ProxyBench, visit: Callable[[ProxyBench], None]
) -> None:
    def visited() -> None:
        visit(bench)
        bench.record()
        bench.turn()
        bench.begun.clear()

    visited()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        visited()
        gc.collect()
        found = {type(one).__name__ for one in gc.garbage if "faith" in type(one).__module__}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found
