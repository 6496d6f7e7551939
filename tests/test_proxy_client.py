"""Clients of a proxy until they have a server: SOCKS5, SOCKS4 and CONNECT over real sockets."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.proxy.password_hash import hashed
from faith.proxy.socks5 import Socks5
from faith.relay.proxy import parting, user_check
from faith.relay.tcp.relay_counters import LAYOUT, PROXY_REQUESTS
from faith.relay.tcp.relay_settings import V4ToV6Settings
from faith.translation import reasons
from faith.translation.ports import Ports
from tests.proxy_bench import RULES, Client, ProxyBench, Server, new_bench

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[ProxyBench]:
    yield from new_bench(request.param)


def socks5(host: str, port: int) -> bytes:
    """A greeting and a request in one."""
    name = host.encode()
    return b"\5\1\0" + b"\5\1\0\3" + bytes((len(name),)) + name + struct.pack("!H", port)


def granted5(client: Client) -> bytes:
    """The reply to `socks5`, whose server is IPv4."""
    assert client.hear(2) == b"\5\0"
    return client.hear(10)


def connect(host: str, port: int) -> bytes:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


def ask(method: str, host: str, port: int) -> bytes:
    if method == "socks5":
        return socks5(host, port)
    if method == "socks4":
        name = host.encode()
        return b"\4\1" + struct.pack("!H", port) + b"\0\0\0\1user\0" + name + b"\0"
    return connect(host, port)


def granted(method: str, client: Client) -> None:
    if method == "socks5":
        assert granted5(client)[:4] == b"\5\0\0\1"
    elif method == "socks4":
        assert client.hear(8)[:2] == b"\0\x5a"
    else:
        assert client.hear_head().startswith(b"HTTP/1.1 200 ")


METHODS = ["socks5", "socks4", "connect"]


def reach(bench: ProxyBench, method: str = "socks5") -> tuple[Client, Client, Server]:
    """A client, its server, and where that listens: there is a tunnel between the first two."""
    server = bench.server()
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    bench.serve(connect_ports={server.port})
    client = bench.client(ask(method, "www.example.org", server.port))
    at = server.accept()
    granted(method, client)
    return client, at, server


def test_sessions_share_what_is_known_of_their_server(bench: ProxyBench) -> None:
    server, other = bench.server(), bench.server("::1")
    for at in server, server, other:
        bench.client(ask("socks5", at.host, at.port))
        at.accept()
    bench.until(lambda: bench.stages() == ["open"] * 3)
    one, same, another = sorted(bench.relay.sessions(), key=lambda session: session.serial)
    assert one.route is same.route
    assert one.asked is same.asked
    assert one.route.server == "127.0.0.1"
    assert another.route.server == "::1"
    assert another.asked == ("::1", other.port)


@pytest.mark.parametrize("method", METHODS)
def test_a_name(bench: ProxyBench, method: str) -> None:
    client, at, server = reach(bench, method)
    assert bench.stages() == ["open"]
    (session,) = bench.relay.sessions()
    assert session.fields(0)["asked"] == f"www.example.org:{server.port}"
    assert session.fields(0)["method"] == method
    assert bench.begun == [session]
    source = at.sock.getpeername()
    data = os.urandom(300_000)
    client.say(data)
    client.end()
    assert at.hear_all() == data
    at.say(b"and back")
    at.end()
    assert client.hear_all() == b"and back"
    record = bench.record()
    assert record.end == "closed"
    assert (record.sent, record.received) == (len(data), 8)
    assert record.mapped == bench.at.getsockname()
    assert record.server == ("127.0.0.1", server.port)
    assert record.source == source
    assert (record.method, record.asked) == (method, ("www.example.org", server.port))
    assert bench.ended("closed") == 1
    assert bench.cells[LAYOUT.cells(PROXY_REQUESTS)[method]] == 1


@pytest.mark.parametrize("method", METHODS)
def test_what_comes_with_the_request_is_for_the_server(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.serve(connect_ports={server.port})
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    client = bench.client(ask(method, "www.example.org", server.port) + b"at once")
    at = server.accept()
    assert at.hear(7) == b"at once"
    granted(method, client)
    client.say(b", and later")
    assert at.hear(11) == b", and later"
    at.close()
    assert client.hear_all() == b""


@pytest.mark.parametrize("method", METHODS)
def test_a_request_octet_by_octet(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.serve(connect_ports={server.port})
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    client = bench.client()
    for octet in ask(method, "www.example.org", server.port):
        client.say(bytes((octet,)))
        bench.turn()
    assert bench.stages() == ["open"]
    server.accept().say(b"hello")
    granted(method, client)
    assert client.hear(5) == b"hello"


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_ends_with_its_request(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.serve(connect_ports={server.port})
    bench.names.known["www.example.org"] = ("127.0.0.1",)
    client = bench.client(ask(method, "www.example.org", server.port) + b"question")
    client.end()
    at = server.accept()
    assert at.hear_all() == b"question"
    at.say(b"answer")
    at.end()
    granted(method, client)
    assert client.hear_all() == b"answer"
    assert bench.record().end == "closed"


def test_an_ipv6_server_of_an_ipv4_client(bench: ProxyBench) -> None:
    server = bench.server("::1")
    client = bench.client(socks5("::1", server.port))
    at = server.accept()
    assert client.hear(2) == b"\5\0"
    assert client.hear(22) == b"\5\0\0\4" + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack(
        "!H", at.sock.getpeername()[1]
    )
    client.say(b"question")
    assert at.hear(8) == b"question"


def test_an_answer_that_comes_with_the_connection(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(b"\5\1\0")
    assert client.hear(2) == b"\5\0"
    client.say(socks5("127.0.0.1", server.port)[3:])
    at = server.accept()
    at.say(b"220 hello\r\n")
    at.end()
    assert client.hear(10)[:2] == b"\5\0"
    assert client.hear_all() == b"220 hello\r\n"


# -- servers that are not reached ----------------------------------------------------------------


def refusal(method: str, client: Client) -> bytes:
    """What tells a client why, up to the end of its connection."""
    if method == "socks5":
        assert client.hear(2) == b"\5\0"
        return client.hear_all()[1:2]
    if method == "socks4":
        return client.hear_all()[1:2]
    head = client.hear_head()
    return head.split(b" ")[1]


REPLIES = {
    reasons.REFUSED: {"socks5": b"\5", "socks4": b"\x5b", "connect": b"502"},
    reasons.DENIED: {"socks5": b"\2", "socks4": b"\x5b", "connect": b"403"},
    reasons.SPECIAL: {"socks5": b"\2", "socks4": b"\x5b", "connect": b"403"},
    reasons.NO_NAME: {"socks5": b"\4", "socks4": b"\x5b", "connect": b"502"},
}
HOSTS = {
    reasons.REFUSED: "127.0.0.1",
    reasons.DENIED: "127.0.1.1",
    reasons.SPECIAL: "224.0.0.1",
    reasons.NO_NAME: None,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("why", REPLIES)
def test_the_real_reason_is_told(bench: ProxyBench, method: str, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    bench.policy = bench.relay.policy = bench.policy_of(RULES + "127.0.0.0/8 permit 224.0.0.0/3\n")
    bench.serve(connect_ports={port})
    host = HOSTS[why]
    if host is not None:
        bench.names.known["www.example.org"] = (host,)
    client = bench.client(ask(method, "www.example.org", port))
    assert refusal(method, client) == REPLIES[why][method]
    record = bench.record()
    assert record.event == "refused"
    assert record.end == why
    assert (record.method, record.asked) == (method, ("www.example.org", port))
    assert record.client == client.sock.getsockname()
    assert record.mapped == bench.at.getsockname()
    assert bench.refused(why) == 1
    client.close()
    bench.until(lambda: not bench.open)
    assert not bench.records, "one record tells of it"
    assert not bench.begun


def test_after_a_refusal_http_goes_on(bench: ProxyBench) -> None:
    server = bench.server()
    bench.serve(connect_ports={server.port})
    client = bench.client(connect("127.0.1.1", server.port))
    head = client.hear_head()
    assert b" 403 " in head
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
    client.hear(length)
    assert bench.stages() == ["greeting"]
    (session,) = bench.relay.sessions()
    assert "asked" not in session.fields(0)
    client.say(connect("127.0.0.1", server.port))
    granted("connect", client)
    server.accept().say(b"hello")
    assert client.hear(5) == b"hello"


def test_what_is_not_spoken_here(bench: ProxyBench) -> None:
    client = bench.client(b"\x16\3\1\2\0\1\0\1")
    assert client.hear_all() == b""
    record = bench.record()
    assert record.end.startswith(f"{reasons.BAD_REQUEST}: TLS")
    assert bench.refused(reasons.BAD_REQUEST) == 1


def test_methods_that_are_not_allowed(bench: ProxyBench) -> None:
    server = bench.server()
    bench.serve(methods=frozenset({"socks4"}), connect_ports={server.port})
    client = bench.client(socks5("127.0.0.1", server.port))
    assert client.hear_all() == b"\5\xff"
    assert bench.record().end == reasons.NO_METHOD
    assert server.has_none()
    client = bench.client(ask("socks4", "127.0.0.1", server.port))
    granted("socks4", client)


def test_a_port_that_is_not_allowed(bench: ProxyBench) -> None:
    server = bench.server()
    client = bench.client(connect("127.0.0.1", server.port))
    assert b" 403 " in client.hear_head()
    record = bench.record()
    assert (record.end, record.method) == (reasons.PORT_CLOSED, "connect")
    assert server.has_none()


@pytest.mark.parametrize("command", [2, 3])
def test_commands_that_are_not_served(bench: ProxyBench, command: int) -> None:
    bench.serve(bind=False, associate=False)
    request = bytearray(socks5("127.0.0.1", 9))
    request[4] = command
    client = bench.client(bytes(request))
    assert client.hear(2) == b"\5\0"
    assert client.hear_all()[:1] == b"\5"
    assert bench.record().end == reasons.NO_METHOD


# -- time, and ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"\5", b"\5\1\0", b"\4\1", b"CONNECT "])
def test_who_does_not_ask_in_time(bench: ProxyBench, said: bytes) -> None:
    bench.settings = bench.relay.settings = replace(bench.settings, greeting_timeout=0.2)
    before = time.time()
    client = bench.client(said)
    told = client.hear_all()
    assert told == (b"\5\0" if said == b"\5\1\0" else told)
    assert (b" 408 " in told) == said.startswith(b"C")
    record = bench.record()
    assert (record.end, record.event) == (reasons.GREETING, "refused")
    assert record.seconds > 0.1
    assert before - 0.1 < record.started < time.time() - 0.1, "it began when the client came"
    client.close()
    bench.until(lambda: not bench.open)
    assert bench.refused(reasons.GREETING) == 1


def test_a_server_that_does_not_answer_in_time(bench: ProxyBench) -> None:
    bench.settings = bench.relay.settings = replace(bench.settings, connect_timeout=0.2)
    full = bench.full_server().port
    client = bench.client(socks5("127.0.0.1", full))
    bench.until(lambda: bench.stages() == ["dialling"])
    assert refusal("socks5", client) == b"\6"
    assert bench.record().end == reasons.TIMEOUT


@pytest.mark.parametrize("stage", ["greeting", "dialling"])
@pytest.mark.parametrize("how", ["kill", "close", "reset"])
def test_an_end_without_a_server(bench: ProxyBench, stage: str, how: str) -> None:
    said = b"\5" if stage == "greeting" else socks5("127.0.0.1", bench.full_server().port)
    client = bench.client(said)
    bench.until(lambda: bench.stages() == [stage])
    if how == "kill":
        (session,) = bench.relay.sessions()
        bench.relay.kill(session)
        client.hear_all()
    elif how == "close":
        bench.close_relay()
    else:
        client.reset()
    told = {"kill": reasons.KILLED, "close": reasons.STOPPED, "reset": "client reset"}[how]
    record = bench.record()
    assert (record.end, record.server) == (told, None)
    assert bench.ended(told) == 1
    assert not bench.open


def test_who_says_nothing_and_leaves(bench: ProxyBench) -> None:
    client = bench.client()
    bench.until(lambda: bench.open)
    client.close()
    assert bench.record().end == reasons.CLOSED


def test_who_does_not_take_its_answer(bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "LINGER", 0.1)
    client = bench.client(b"\5\1\7")
    assert client.hear(2) == b"\5\xff"
    bench.until(lambda: not bench.open)
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        bench.until(lambda: client.sock.send(b"x") == 0)


def test_a_defect_costs_its_client_alone(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Socks5, data: bytes) -> None:
        raise ZeroDivisionError

    other = bench.client(b"\5\1\0")
    assert other.hear(2) == b"\5\0"
    with monkeypatch.context() as patched:
        patched.setattr(Socks5, "from_client", fail)
        client = bench.client(b"\5\1\0")
        assert client.hear_all() == b""
    assert bench.record().end == reasons.DEFECT
    assert "a defect in the proxy" in caplog.text
    server = bench.server()
    other.say(socks5("127.0.0.1", server.port)[3:])
    assert other.hear(10)[:2] == b"\5\0"


def test_a_defect_when_the_server_has_answered(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Socks5, bound: tuple[str, int]) -> None:
        raise ZeroDivisionError

    server = bench.server()
    monkeypatch.setattr(Socks5, "connected", fail)
    client = bench.client(socks5("127.0.0.1", server.port))
    assert server.accept().hear_all() == b""
    assert client.hear_all() == b"\5\0"
    record = bench.record()
    assert (record.end, record.server) == (reasons.DEFECT, ("127.0.0.1", server.port))
    assert "a defect in the proxy" in caplog.text


# -- servers that expect to be told who comes ----------------------------------------------------


def test_a_server_that_expects_the_proxy_protocol(bench: ProxyBench) -> None:
    server = bench.server()
    ports = Ports([(server.port, server.port)])
    bench.settings = bench.relay.settings = replace(bench.settings, proxy_v1=ports)
    client = bench.client(socks5("127.0.0.1", server.port) + b"hello")
    at = server.accept()
    client_port, port = client.sock.getsockname()[1], bench.at.getsockname()[1]
    told = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client_port} {port}\r\n".encode()
    assert at.hear(len(told) + 5) == told + b"hello"
    assert client.hear(12)[3:4] == b"\0"


def test_ipv6_servers_that_no_map_leads_to_do_not(bench: ProxyBench) -> None:
    server = bench.server("::1")
    v4_to_v6 = V4ToV6Settings(proxy="v1")
    bench.settings = bench.relay.settings = replace(bench.settings, v4_to_v6=v4_to_v6)
    bench.client(socks5("::1", server.port) + b"hello")
    assert server.accept().hear(5) == b"hello"


# -- users ---------------------------------------------------------------------------------------

HASH = str(hashed(b"secret", ln=4))


def log_in(method: str, port: int, password: str) -> bytes:
    if method == "socks5":
        word = bytes((len(password),)) + password.encode()
        return b"\5\1\2" + b"\1\5alice" + word + socks5("127.0.0.1", port)[3:]
    basic = base64.b64encode(f"alice:{password}".encode()).decode()
    head = connect("127.0.0.1", port)[:-2].decode()
    return f"{head}Proxy-Authorization: Basic {basic}\r\n\r\n".encode()


@pytest.mark.parametrize("method", ["socks5", "connect"])
def test_a_user(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.serve(users={"alice": HASH}, connect_ports={server.port})
    client = bench.client(log_in(method, server.port, "secret") + b"hello")
    at = server.accept()
    assert at.hear(5) == b"hello"
    if method == "socks5":
        assert client.hear(4) == b"\5\2\1\0"
        assert client.hear(10)[:2] == b"\5\0"
    else:
        granted(method, client)
    (session,) = bench.relay.sessions()
    assert session.fields(0)["user"] == "alice"
    assert [one.user for one in bench.begun] == ["alice"]
    client.close()
    at.close()
    record = bench.record()
    assert (record.user, record.method) == ("alice", method)


def test_nobody_is_the_user_of_a_proxy_for_everybody(bench: ProxyBench) -> None:
    server = bench.server()
    bench.client(log_in("socks5", server.port, "secret"))
    server.accept()
    (session,) = bench.relay.sessions()
    assert "user" not in session.fields(0)


def test_what_a_user_is_refused_has_its_name(bench: ProxyBench) -> None:
    bench.serve(users={"alice": HASH})
    client = bench.client(log_in("connect", 9, "secret"))
    assert b" 403 " in client.hear_head()
    record = bench.record()
    assert (record.user, record.end) == ("alice", reasons.PORT_CLOSED)


@pytest.mark.parametrize("method", ["socks5", "connect"])
def test_a_wrong_password(bench: ProxyBench, method: str) -> None:
    server = bench.server()
    bench.serve(users={"alice": HASH}, connect_ports={server.port})
    for _ in range(user_check.FAILURES):
        client = bench.client(log_in(method, server.port, "wrong"))
        if method == "socks5":
            assert client.hear_all() == b"\5\2\1\1"
        else:
            assert b" 407 " in client.hear_head()
        record = bench.record()
        assert (record.end, record.user) == (reasons.WRONG_PASSWORD, "")
    client = bench.client(log_in(method, server.port, "secret"))
    if method == "socks5":
        assert client.hear_all() == b"\5\2\1\1"
    else:
        assert b" 429 " in client.hear_head()
    assert bench.refused(reasons.WRONG_PASSWORD) == user_check.FAILURES + 1
    assert server.has_none()


def test_a_client_that_does_not_say_who_it_is(bench: ProxyBench) -> None:
    bench.serve(users={"alice": HASH})
    assert bench.client(socks5("127.0.0.1", 9)).hear_all() == b"\5\xff"
    client = bench.client(b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b" 407 " in client.hear_head()


def test_a_client_that_leaves_while_its_password_is_looked_at(bench: ProxyBench) -> None:
    bench.serve(users={"alice": HASH})
    client = bench.client(log_in("socks5", 9, "secret"))
    assert client.hear(2) == b"\5\2"
    client.reset()
    bench.until(lambda: not bench.open)


# -- the file that browsers configure themselves by ----------------------------------------------


@pytest.mark.parametrize("path", ["/proxy.pac", "/wpad.dat"])
def test_browsers_find_the_proxy(bench: ProxyBench, path: str) -> None:
    host, port = bench.at.getsockname()
    client = bench.client(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = client.hear_head()
    assert b" 200 " in head
    text = client.hear(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
    assert f"PROXY {host}:{port}".encode() in text


def test_unless_the_operator_does_not_want_that(bench: ProxyBench) -> None:
    bench.serve(autoconfig=False)
    client = bench.client(b"GET /proxy.pac HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert b" 404 " in client.hear_head()
