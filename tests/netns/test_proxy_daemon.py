"""A whole faithd as a proxy: both directions, who may and who may not, reload, upgrade, deaths."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.proxy.password_hash import hashed
from tests.dns.zones import NameServer, Zones
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT, Echo, answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

    Start = Callable[..., Gateway]

pytestmark = pytest.mark.netns

PROXY = 1080
GRANTED, DENIED, UNREACHABLE, REFUSED = 0, 2, 4, 5
"""Replies of RFC 1928 §6."""
ZONE = f"""$ORIGIN example.
@ 300 IN SOA ns host 1 3600 1200 604800 60
v4 60 IN A {SERVER}
v6 60 IN AAAA {CLIENT}
inside 60 IN A 127.0.0.1
"""


def text(more: str = "", *, listen: str = f":{PROXY}", workers: int = 2) -> str:
    return f"""
workers = {workers}
[[proxy]]
listen = "{listen}"
{more}
"""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Iterator[Start]:
    made: list[Gateway] = []

    def start(words: str) -> Gateway:
        made.append(Gateway(lab, tmp_path, words))
        return made[-1]

    yield start
    for faithd in made:
        if faithd.process.poll() is None:
            faithd.stop(30)


@pytest.fixture(autouse=True)
def _servers(lab: ThreeHosts) -> Iterator[None]:
    """One of IPv4 alone, on the server, and one of IPv6 alone, on the client."""
    with contextlib.ExitStack() as undo:
        undo.enter_context(contextlib.closing(Echo(lab.server, PORT, SERVER)))
        undo.enter_context(contextlib.closing(Echo(lab.client, PORT, CLIENT)))
        yield


class Ways:
    """The hosts that use the proxy, each by the address of the gateway on its own link."""

    def __init__(self, lab: ThreeHosts) -> None:
        self.v6 = lab.client, GATEWAY_V6
        self.v4 = lab.server, GATEWAY_V4


@pytest.fixture
def ways(lab: ThreeHosts) -> Ways:
    return Ways(lab)


Way = tuple["Host", str]


def connect(way: Way, port: int = PROXY, source: str = "") -> socket.socket:
    host, proxy = way
    at = (source, 0) if source else None
    return host.call(lambda: socket.create_connection((proxy, port), 5, at))


def receive(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ConnectionError(f"{len(data)} of {size} octets")
    return data


def socks5(
    way: Way, server: str, port: int = PORT, proxy_port: int = PROXY
) -> tuple[int, socket.socket]:
    """Ask for *port* of *server*, a name or an address; return the reply, and the connection."""
    sock = connect(way, proxy_port)
    sock.sendall(b"\5\1\0")
    assert receive(sock, 2) == b"\5\0"
    try:
        packed = ip_address(server).packed
        asked = (b"\1" if len(packed) == 4 else b"\4") + packed
    except ValueError:
        asked = b"\3" + bytes((len(server),)) + server.encode()
    sock.sendall(b"\5\1\0" + asked + struct.pack("!H", port))
    version, reply, _, kind = receive(sock, 4)
    assert version == 5
    receive(sock, {1: 6, 4: 18}[kind])
    return reply, sock


def http(way: Way, head: str, proxy_port: int = PROXY) -> tuple[str, socket.socket]:
    """Send a request; return the head of the answer, and the connection."""
    sock = connect(way, proxy_port)
    sock.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if not (octet := sock.recv(1)):
            break
        answer += octet
    return answer.decode(), sock


def reply(way: Way, server: str, port: int = PORT) -> int:
    found, sock = socks5(way, server, port)
    sock.close()
    return found


def status(way: Way, target: str) -> int:
    answer, sock = http(way, f"CONNECT {target} HTTP/1.1\nHost: {target}")
    sock.close()
    return int(answer.split()[1])


def is_served(way: Way, server: str = SERVER, port: int = PROXY) -> bool:
    """Whether a proxy there serves; False when nothing listens, or it has no such client."""
    try:
        found, sock = socks5(way, server, proxy_port=port)
    except ConnectionError:
        return False
    with sock:
        return found == GRANTED and answers(sock)


def sessions(faithd: Gateway) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "faith.cli.faith", "sessions", "--json"]
    found = faithd.lab.gateway.run(words, env=ENVIRONMENT).stdout
    listed: list[dict[str, Any]] = json.loads(found)
    return listed


def written(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# -- both directions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_v4", "server"),
    [(False, SERVER), (True, CLIENT), (False, f"::ffff:{SERVER}"), (True, SERVER)],
)
def test_clients_of_either_family_reach_servers_of_either(
    start: Start, ways: Ways, from_v4: bool, server: str
) -> None:
    faithd = start(text(f'connect_ports = "{PORT}"'))
    way = ways.v4 if from_v4 else ways.v6
    found, sock = socks5(way, server)
    with sock:
        assert found == GRANTED
        assert answers(sock)
    target = f"{written(server)}:{PORT}"
    answer, sock = http(way, f"CONNECT {target} HTTP/1.1\nHost: {target}")
    with sock:
        assert answer.split()[1] == "200"
        assert answers(sock)
        (session,) = sessions(faithd)
    assert session["method"] == "connect"
    assert session["asked"] == target
    assert session["client"].startswith(f"{written(SERVER if from_v4 else CLIENT)}:")


def test_names_are_looked_up_at_the_gateway(lab: ThreeHosts, start: Start, ways: Ways) -> None:
    with lab.gateway.call(NameServer, Zones(ZONE), "127.0.0.1") as names:
        start(text(f'[dns]\nlisten = ["[::1]:5353"]\nforward = ["127.0.0.1:{names.port}"]'))
        for way in (ways.v4, ways.v6):
            for name in ("v4.example", "v6.example"):
                assert is_served(way, name), name
            assert reply(way, "inside.example") == DENIED, "what the name leads to is judged"
            assert reply(way, "none.example") == UNREACHABLE


def test_what_a_prefix_and_a_map_stand_for(lab: ThreeHosts, start: Start, ways: Ways) -> None:
    start(
        text(
            f'[[prefix]]\naddress = "{PREFIX}"\n[[map]]\nv4 = "198.51.100.9"\nv6 = "{CLIENT}"\n',
        )
    )
    # The client's own connections over IPv4 come from the address that stands for it.
    lab.server.links.add_route("198.51.100.0/24", GATEWAY_V4)
    assert is_served(ways.v6, lab.mapped())
    assert is_served(ways.v4, "198.51.100.9")
    assert is_served(ways.v6, "198.51.100.9")


# -- who may, and who may not --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "found"),
    [
        (GATEWAY_V4, DENIED),
        (GATEWAY_V6, DENIED),
        ("127.0.0.1", DENIED),
        ("::1", DENIED),
        ("fe80::1", DENIED),
        ("::ffff:127.0.0.1", DENIED),
        ("169.254.169.254", DENIED),
        ("192.0.2.81", UNREACHABLE),
    ],
)
def test_the_safe_defaults_refuse_with_the_reason(
    start: Start, ways: Ways, server: str, found: int
) -> None:
    start(text(f'connect_ports = "{PORT}"\n[timeouts]\nconnect = 4'))
    if found == DENIED:
        assert status(ways.v6, f"{written(server)}:{PORT}") == 403
    assert reply(ways.v6, server) == found


def test_a_server_that_refuses_is_told(start: Start, ways: Ways) -> None:
    start(text(f'connect_ports = "{PORT}-{PORT + 1}"'))
    assert reply(ways.v6, SERVER, PORT + 1) == REFUSED
    assert status(ways.v6, f"{SERVER}:{PORT + 1}") == 502
    assert status(ways.v6, f"{SERVER}:{PORT + 2}") == 403


def test_rules_decide_in_both_families(start: Start, ways: Ways) -> None:
    rules = [f"{SERVER} permit {CLIENT}", f"2001:db8:6::/64 deny {SERVER}", "::/0 permit 0.0.0.0/0"]
    faithd = start(text(f"[access]\nrules = {json.dumps(rules)}"))
    assert is_served(ways.v4, CLIENT)
    assert reply(ways.v6, SERVER) == DENIED
    assert reply(ways.v6, CLIENT) == DENIED, "no rule permits it"
    faithd.reload(text('[access]\nrules = ["::/0 permit 0.0.0.0/0", "::/0 permit ::/0"]'))
    assert is_served(ways.v6, SERVER)
    assert is_served(ways.v6, CLIENT)


def test_users_log_in_with_passwords_of_a_file(start: Start, ways: Ways, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("".join(f"{name}:{hashed(name.encode(), ln=4)}\n" for name in ("ann", "bob")))
    more = f'connect_ports = "{PORT}"\nusers = "{users}"'
    faithd = start(text(more))
    assert (log_in(ways.v6, "ann", "ann"), log_in(ways.v6, "ann", "bob")) == (True, False)
    target = f"{SERVER}:{PORT}"
    ask = f"CONNECT {target} HTTP/1.1\nHost: {target}"
    for authorization, found in (
        ("", "407"),
        ("\nProxy-Authorization: Basic YW5uOmFubg==", "200"),
        ("\nProxy-Authorization: Basic YW5uOmJvYg==", "407"),
    ):
        answer, sock = http(ways.v6, ask + authorization)
        sock.close()
        assert answer.split()[1] == found
    users.write_text(f"ann:{hashed(b'other', ln=4)}\n")
    faithd.reload(text(more))
    assert (log_in(ways.v6, "ann", "ann"), log_in(ways.v6, "ann", "other")) == (False, True)
    users.write_text("ann:other\n")
    reread(faithd, text(more), "stays as it was")
    assert "a password's hash is not $scrypt$" in faithd.said
    assert log_in(ways.v6, "ann", "other")


def test_each_worker_counts_wrong_passwords(start: Start, ways: Ways, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'ann', ln=4)}\n")
    start(text(f'users = "{users}"'))
    wrong = "Proxy-Authorization: Basic YW5uOmJvYg=="

    def attempt() -> str:
        answer, sock = http(ways.v6, f"CONNECT {SERVER}:443 HTTP/1.1\nHost: {SERVER}\n{wrong}")
        sock.close()
        return answer.split()[1]

    found = [attempt() for _ in range(100)]  # to two workers, as the kernel spreads them
    assert found.count("407") == 20
    assert found.count("429") == 80


def log_in(way: Way, name: str, password: str) -> bool:
    """Whether a client of SOCKS5 is let in (RFC 1929)."""
    with connect(way) as sock:
        sock.sendall(b"\5\2\0\2")
        assert receive(sock, 2) == b"\5\2"
        words = (bytes((len(one),)) + one.encode() for one in (name, password))
        sock.sendall(b"\1" + b"".join(words))
        return receive(sock, 2) == b"\1\0"


def test_browsers_get_their_file_and_status_has_the_proxy(start: Start, ways: Ways) -> None:
    faithd = start(text(f'[[prefix]]\naddress = "{PREFIX}"'))
    for path in ("/proxy.pac", "/wpad.dat"):
        answer, sock = http(ways.v6, f"GET {path} HTTP/1.1\nHost: gateway\nConnection: close")
        with sock, sock.makefile("rb") as rest:
            body = rest.read().decode()
        assert answer.split()[1] == "200"
        assert f"PROXY [{GATEWAY_V6}]:{PROXY}" in body
        assert f"// {PREFIX}" in body
    words = [sys.executable, "-m", "faith.cli.faith"]
    shown = faithd.lab.gateway.run([*words, "status"], env=ENVIRONMENT, check=False).stdout
    assert f"proxy    [::]:{PROXY}: socks5, socks4, connect, http, clients on the links\n" in shown
    assert is_served(ways.v6)
    words_of_json = [*words, "status", "--json"]

    def numbers() -> dict[str, Any]:
        shown = faithd.lab.gateway.run(words_of_json, env=ENVIRONMENT, check=False).stdout
        found: dict[str, Any] = json.loads(shown)["daemons"][0]["proxied"]
        return found

    wait_until(lambda: numbers()["open"] == 0, 5, "the end of the sessions")
    assert numbers()["asked"] == {"socks5": 1}
    with connect(ways.v6):
        wait_until(lambda: numbers()["open"] == 1, 5, "a session")
    told = faithd.lab.gateway.run([*words, "proxy", "settings"], env=ENVIRONMENT).stdout
    assert f"# the proxy at [{GATEWAY_V6}]:{PROXY}, also at {GATEWAY_V4}:{PROXY}\n" in told


def test_the_way_of_a_session_is_recorded_with_what_was_asked(start: Start, ways: Ways) -> None:
    faithd = start(text('[log]\nformat = "json"'))
    assert is_served(ways.v6)
    assert reply(ways.v6, "127.0.0.1") == DENIED
    # by two workers, each of which writes its own
    wait_until(lambda: faithd.said.count('"asked_port"') == 2, 10, "both records")
    wait_until(lambda: faithd.said.endswith("\n"), 10, "whole lines")
    records = [json.loads(line) for line in faithd.said.splitlines()]
    asked = [record for record in records if "asked" in record]
    good, bad = sorted(asked, key=lambda record: record["event"])
    assert (good["method"], good["asked"], good["asked_port"]) == ("socks5", SERVER, PORT)
    assert (bad["method"], bad["asked"], bad["asked_port"]) == ("socks5", "127.0.0.1", PORT)


def test_the_user_of_a_session_is_recorded(start: Start, ways: Ways, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'ann', ln=4)}\n")
    faithd = start(text(f'connect_ports = "{PORT}"\nusers = "{users}"\n[log]\nformat = "json"'))
    target = f"{SERVER}:{PORT}"
    log_in = "Proxy-Authorization: Basic YW5uOmFubg=="
    answer, sock = http(ways.v6, f"CONNECT {target} HTTP/1.1\nHost: {target}\n{log_in}")
    with sock:
        assert answer.split()[1] == "200"
        words = [sys.executable, "-m", "faith.cli.faith", "sessions", "--json"]
        shown = faithd.lab.gateway.run(words, env=ENVIRONMENT).stdout
        assert '"user":"ann"' in shown.replace(" ", "")
    wait_until(lambda: '"asked_port"' in faithd.said, 10, "the record")
    wait_until(lambda: faithd.said.endswith("\n"), 10, "a whole line")
    records = [json.loads(line) for line in faithd.said.splitlines()]
    (record,) = [one for one in records if "asked" in one]
    assert (record["user"], record["asked"], record["event"]) == ("ann", SERVER, "end")


def test_where_only_proxies_are_served_no_prefix_is_missing(start: Start, ways: Ways) -> None:
    faithd = start(text())
    assert f"serving proxy, proxies: [::]:{PROXY}, prefixes: none, workers: " in faithd.said
    words = [sys.executable, "-m", "faith.cli.faith", "explain"]
    shown = faithd.lab.gateway.run(words, env=ENVIRONMENT, check=False).stdout
    assert "note   prefix      no prefix is reserved: only proxies are served\n" in shown
    words += [CLIENT, SERVER]
    shown = faithd.lab.gateway.run(words, env=ENVIRONMENT, check=False).stdout
    assert f"this is not about clients of the proxy at [::]:{PROXY}: " in shown


STRANGER = "2001:db8:77::2"


@pytest.fixture
def stranger(lab: ThreeHosts) -> str:
    """An address of the client's that is in no network of the gateway's."""
    lab.client.run(["ip", "address", "add", f"{STRANGER}/128", "dev", "lo", "nodad"])
    lab.gateway.run(["ip", "route", "add", f"{STRANGER}/128", "via", CLIENT])
    return STRANGER


def is_met(way: Way, source: str) -> bool:
    """Whether the proxy listens to a client from *source*."""
    try:
        with connect(way, source=source) as sock:
            sock.sendall(b"\5\1\0")
            return sock.recv(2) == b"\5\0"
    except (ConnectionResetError, BrokenPipeError):  # maybe as soon as it is connected
        return False


def test_only_clients_on_the_links_are_served_unless_others_are_named(
    lab: ThreeHosts, start: Start, ways: Ways, stranger: str
) -> None:
    faithd = start(text())
    assert is_met(ways.v6, CLIENT)
    assert not is_met(ways.v6, stranger)
    faithd.wait_said("not a client of the proxy")
    faithd.reload(text(f'clients = ["{stranger}", "192.0.2.0/24"]'))
    assert is_met(ways.v6, stranger)
    assert not is_met(ways.v6, CLIENT)
    assert is_served(ways.v4, CLIENT)
    assert "open to everybody" not in faithd.said
    faithd.reload(text('clients = ["::/0"]'))
    assert is_met(ways.v6, stranger)
    assert "is open to everybody" in faithd.said


def test_the_links_of_the_gateway_are_followed(
    lab: ThreeHosts, start: Start, ways: Ways, stranger: str
) -> None:
    start(text())
    assert not is_met(ways.v6, stranger)
    lab.gateway.run(["ip", "address", "add", "2001:db8:77::1/64", "dev", "lo", "nodad"])
    wait_until(lambda: is_met(ways.v6, stranger), 5, "the client being served")
    lab.gateway.run(["ip", "address", "del", "2001:db8:77::1/64", "dev", "lo"])
    wait_until(lambda: not is_met(ways.v6, stranger), 5, "the client being refused")


# -- changes -------------------------------------------------------------------------------------


def test_a_reload_adds_changes_and_removes_proxies(start: Start, ways: Ways) -> None:
    faithd = start(text())
    _, tunnel = socks5(ways.v6, SERVER)
    with tunnel:
        faithd.reload(text(f'[[proxy]]\nlisten = "{GATEWAY_V4}:3128"\nmethods = ["socks5"]'))
        assert is_served(ways.v6)
        assert is_served(ways.v4, CLIENT, 3128)
        faithd.reload(text(listen=f"[{GATEWAY_V6}]:3128"))
        assert is_served(ways.v6, port=3128)
        assert not is_served(ways.v6)
        assert not is_served(ways.v4, CLIENT, 3128)
        assert answers(tunnel), "who is connected stays so"


def test_one_proxy_takes_the_port_of_another(start: Start, ways: Ways) -> None:
    faithd = start(text())
    faithd.reload(text(listen=f"{GATEWAY_V4}:{PROXY}"))
    assert is_served(ways.v4, CLIENT)
    assert not is_served(ways.v6)
    faithd.reload(text())
    assert is_served(ways.v6)
    assert is_served(ways.v4, CLIENT)


def test_a_taken_port_leaves_everything_as_it_was(
    lab: ThreeHosts, start: Start, ways: Ways, tmp_path: Path
) -> None:
    with lab.gateway.call(socket.create_server, ("127.0.0.1", 3128)):
        faithd = start(text())
        reread(faithd, text('clients = ["10.0.0.0/8"]', listen=":3128"), "stays as it was")
        assert "listen on [::]:3128: the port is taken by" in faithd.said
        assert is_served(ways.v6)
        assert faithd.stop(10) == 0
        with pytest.raises(AssertionError, match=r"listen on \[::\]:3128: the port is taken by"):
            Gateway(lab, tmp_path, text(listen=":3128"))


def test_a_mistake_in_the_file_is_told_with_its_line(start: Start, ways: Ways) -> None:
    faithd = start(text())
    reread(faithd, text('methods = ["sox"]'), "stays as it was")
    assert "faith.toml:6: proxy.methods: 'sox' is not one of socks5, socks4" in faithd.said
    assert is_served(ways.v6)


def test_an_upgrade_keeps_tunnels_greetings_and_listeners(start: Start, ways: Ways) -> None:
    faithd = start(text())
    _, tunnel = socks5(ways.v6, SERVER)
    with tunnel, connect(ways.v6) as greeting:
        greeting.sendall(b"\5")
        for program in (2, 3):
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {program}", seconds=30)
            assert answers(tunnel)
            assert is_served(ways.v6)
            assert is_served(ways.v4, CLIENT)
        greeting.sendall(b"\1\0")
        assert receive(greeting, 2) == b"\5\0"


def test_an_upgrade_keeps_connections_of_http_and_their_bodies(
    lab: ThreeHosts, start: Start, ways: Ways
) -> None:
    faithd = start(text())
    body = os.urandom(20_000_000)
    request = f"GET http://{SERVER}:8080/ HTTP/1.1\r\nHost: {SERVER}:8080\r\n\r\n".encode()
    listener = lab.server.call(lambda: socket.create_server((SERVER, 8080)))
    with listener, connect(ways.v6) as client:
        client.sendall(request)
        server, _ = listener.accept()
        server.settimeout(20)
        with server:
            assert server.recv(1 << 16).startswith(b"GET / HTTP/1.1\r\n")
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            sender = threading.Thread(target=server.sendall, args=(body,))
            sender.start()
            got = bytearray(client.recv(1_000_000))
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("upgraded to program 2", seconds=30)
            head = got[: got.index(b"\r\n\r\n") + 4]
            assert b" 200 " in head
            while len(got) < len(head) + len(body):
                got += receive(client, 1)
                got += client.recv(1 << 20)
            assert got[len(head) :] == body
            sender.join()
            client.sendall(request)
            assert server.recv(1 << 16).startswith(b"GET / HTTP/1.1\r\n"), "it is the same one"


def test_an_upgrade_changes_workers_and_proxies_together(start: Start, ways: Ways) -> None:
    faithd = start(text())
    _, tunnel = socks5(ways.v6, SERVER)
    with tunnel:
        faithd.reload(text(listen=f"[{GATEWAY_V6}]:3128", workers=3))
        assert answers(tunnel)
        for _ in range(12):
            assert is_served(ways.v6, port=3128)
        wait_until(lambda: not is_served(ways.v6), 10, "the old proxy being gone")


def test_the_listeners_of_a_dead_worker_are_served(start: Start, ways: Ways) -> None:
    faithd = start(text(workers=3))
    for victim in faithd.workers:
        os.kill(victim, signal.SIGKILL)
        for _ in range(12):
            wait_until(lambda: is_served(ways.v6), 10, "the proxy being served")
    assert faithd.said.count("another takes its place") == 3
    assert faithd.said.count("Traceback") == 0


def test_who_drains_takes_no_clients_and_who_is_resumed_does(start: Start, ways: Ways) -> None:
    faithd = start(text())
    _, tunnel = socks5(ways.v6, SERVER)
    words = [sys.executable, "-m", "faith.cli.faith"]
    with tunnel:
        faithd.lab.gateway.run([*words, "drain", "--forever"], env=ENVIRONMENT)
        assert not is_served(ways.v6)
        assert not is_served(ways.v4, CLIENT)
        assert answers(tunnel)
        faithd.lab.gateway.run([*words, "undrain"], env=ENVIRONMENT)
        assert is_served(ways.v6)
        assert is_served(ways.v4, CLIENT)


def test_the_option_of_the_command_line(lab: ThreeHosts, ways: Ways, tmp_path: Path) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", "--proxy", f":{PROXY}")
    faithd.wait_said("serving")
    assert is_served(ways.v6)
    assert is_served(ways.v4, CLIENT)
    assert faithd.stop(10) == 0
