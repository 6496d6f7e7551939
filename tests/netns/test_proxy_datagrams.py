"""UDP ASSOCIATE and BIND of a whole faithd: PySocks, names, QUIC and active FTP in the lab."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.message
import pytest
import socks

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from faith.proxy import socks_datagram
from tests.certificates import certify
from tests.dns.zones import NameServer, Zones
from tests.netns.datagrams import Echo
from tests.netns.test_proxy_daemon import (
    DENIED,
    GRANTED,
    PROXY,
    ZONE,
    Way,
    Ways,
    connect,
    receive,
    sessions,
    socks5,
    start,
    text,
    ways,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts
    from tests.certificates import Certify
    from tests.netns.gateway import Gateway

    Start = Callable[..., Gateway]

__all__ = ["certify", "start", "ways"]

pytestmark = pytest.mark.netns

UDP_PORT = 7
SIZES = 0, 1, 100, 1200, 9000, 60000


@pytest.fixture(autouse=True)
def _servers(lab: ThreeHosts) -> Iterator[None]:
    """One of IPv4 alone, on the server, and one of IPv6 alone, on the client."""
    with contextlib.ExitStack() as undo:
        undo.enter_context(contextlib.closing(Echo(lab.server, SERVER, UDP_PORT)))
        undo.enter_context(contextlib.closing(Echo(lab.client, CLIENT, UDP_PORT)))
        yield


class Associated:
    """A socket whose datagrams go by the proxy, as PySocks has it for IPv4."""

    def __init__(self, way: Way) -> None:
        host, proxy = way
        self._control = connect(way)
        self._control.sendall(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
        assert receive(self._control, 2) == b"\5\0"
        self._proxy = reply(self._control)
        assert self._proxy[0] == proxy
        self._sock = host.call(_connected, self._proxy)

    def __enter__(self) -> Associated:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._sock.close()

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        self._sock.send(header(*to) + data)

    def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
        octets = self._sock.recv(most)
        end = socks_datagram.header_end(octets)
        source = socks_datagram.target(octets[:end])
        return octets[end:], (source.host, source.port)


def _connected(to: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.connect(to)
    return sock


def header(host: str, port: int) -> bytes:
    """Return the header of a datagram for an address or a name."""
    with contextlib.suppress(OSError):
        return socks_datagram.header(host, port)
    return b"\0\0\0\3" + bytes((len(host),)) + host.encode() + port.to_bytes(2, "big")


def is_relayed(sock: Any, server: str, data: bytes = b"question") -> bool:
    """Whether *data* comes back from *server*, and says that it does."""
    sock.sendto(data, (server, UDP_PORT))
    came, source = sock.recvfrom(65535)
    return bool(came == data and source[:2] == (server, UDP_PORT))


@pytest.mark.parametrize("server", [SERVER, CLIENT])
def test_pysocks(start: Start, ways: Ways, server: str) -> None:
    start(text())
    host, proxy = ways.v4

    def made() -> socks.socksocket:
        sock = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.set_proxy(socks.SOCKS5, proxy, PROXY)
        sock.settimeout(10)
        sock.bind(("0.0.0.0", 0))
        return sock

    with host.call(made) as sock:
        for size in SIZES:
            assert is_relayed(sock, server, os.urandom(size)), size


@pytest.mark.parametrize(("from_v4", "server"), [(False, SERVER), (True, CLIENT), (False, CLIENT)])
def test_clients_of_either_family_reach_servers_of_either(
    start: Start, ways: Ways, from_v4: bool, server: str
) -> None:
    faithd = start(text('[metrics]\nlisten = "[::1]:9064"\n'))
    with Associated(ways.v4 if from_v4 else ways.v6) as sock:
        for size in SIZES:
            assert is_relayed(sock, server, os.urandom(size)), size
        (session,) = sessions(faithd)
        assert session["stage"] == "open"
        assert (session["method"], session["sent"]) == ("socks5", sum(SIZES))
        assert faithd.counted("faith_associations_open") == {"": 1}
        assert faithd.counted("faith_association_datagrams_total") == {
            "server": len(SIZES),
            "client": len(SIZES),
        }
    faithd.wait_said(f"sent={sum(SIZES)} received={sum(SIZES)}")
    (line,) = [line for line in faithd.said.splitlines() if "end=closed" in line]
    at = f"[{server}]:{UDP_PORT}" if ":" in server else f"{server}:{UDP_PORT}"
    gateway = f"[{GATEWAY_V6}]:" if ":" in server else f"{GATEWAY_V4}:"
    assert "protocol=udp" in line
    assert f"method=socks5 mapped={'' if from_v4 else '['}" in line
    assert f"asked={at} source={gateway}" in line
    assert f"server={at}" in line


def test_one_association_reaches_servers_of_both_families(start: Start, ways: Ways) -> None:
    faithd = start(text())
    with Associated(ways.v6) as sock:
        for server in (SERVER, CLIENT, SERVER):
            assert is_relayed(sock, server)
    wait_until(lambda: faithd.said.count("end=closed") == 2, 10, "a record of each server")


def test_what_may_not_be_reached_is_not_sent(start: Start, ways: Ways) -> None:
    faithd = start(text('[metrics]\nlisten = "[::1]:9064"\n'))
    with Associated(ways.v6) as sock:
        for server in (GATEWAY_V4, "127.0.0.1", "::1", "169.254.169.254"):
            sock.sendto(b"question", (server, UDP_PORT))
        assert is_relayed(sock, SERVER)
        refused = faithd.counted("faith_association_refusals_total")
    assert refused["the gateway's own address"] == 1
    assert refused["special destination"] == 3
    assert "translation of UDP by socks5 to [::1]:7 not permitted for" in faithd.said


def test_names_of_servers_and_questions_for_names(
    lab: ThreeHosts, start: Start, ways: Ways
) -> None:
    with (
        lab.gateway.call(NameServer, Zones(ZONE), "127.0.0.1") as names,
        lab.server.call(NameServer, Zones(ZONE), SERVER, 53),
    ):
        start(text(f'[dns]\nlisten = ["[::1]:5353"]\nforward = ["127.0.0.1:{names.port}"]'))
        for way in (ways.v4, ways.v6):
            with Associated(way) as sock:
                for name, server in (("v4.example", SERVER), ("v6.example", CLIENT)):
                    sock.sendto(b"by name", (name, UDP_PORT))
                    assert sock.recvfrom(100) == (b"by name", (server, UDP_PORT))
        with Associated(ways.v6) as sock:
            question = dns.message.make_query("v4.example.", "A")
            sock.sendto(question.to_wire(), (SERVER, 53))
            answer = dns.message.from_wire(sock.recvfrom(4096)[0])
    assert answer.id == question.id
    assert [rrset.to_text().split()[-1] for rrset in answer.answer] == [SERVER]


def test_an_upgrade_keeps_associations_and_what_is_waited_for(start: Start, ways: Ways) -> None:
    faithd = start(text())
    waiting, at = bind(ways.v6)
    with Associated(ways.v6) as sock, waiting:
        assert is_relayed(sock, SERVER)
        port = proxied_port(faithd)
        for program in (2, 3):
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {program}", seconds=30)
            assert is_relayed(sock, SERVER)
            assert is_relayed(sock, CLIENT)
            assert proxied_port(faithd) == port, "the server sees the same port"
        with ways.v4[0].call(lambda: socket.create_connection(at, 5)) as peer:
            assert reply(waiting) == peer.getsockname()[:2]
            peer.sendall(b"data")
            assert receive(waiting, 4) == b"data"


def proxied_port(faithd: Gateway) -> int:
    """Return the port of UDP from which the gateway sends to servers of IPv4."""
    found = faithd.lab.gateway.run(["ss", "-Huan"]).stdout.split("\n")
    (port,) = {
        int(line.split()[3].rpartition(":")[2])
        for line in found
        if "0.0.0.0:*" in line and line.split()[3].startswith("0.0.0.0:")
    }
    return port


def test_quic(lab: ThreeHosts, start: Start, certify: Certify, tmp_path: Path) -> None:
    start(text())
    certificate, key = certify("quic")
    program = [sys.executable, str(Path(__file__).parents[1] / "peers/quic.py")]
    said = tmp_path / "said"
    with said.open("w") as file:
        served = [*program, "serve", SERVER, "4433", str(certificate), str(key)]
        lab.server.popen(served, stdout=file)
    wait_until(lambda: "serving" in said.read_text(), 20, "a QUIC server")
    asked = [*program, "ask", SERVER, "4433", GATEWAY_V6, str(PROXY)]
    assert lab.client.run(asked, timeout=50).stdout == f"{1 << 20} octets, the same\n"


# -- BIND ----------------------------------------------------------------------------------------


def bind(way: Way, server: str = SERVER, port: int = 21) -> tuple[socket.socket, tuple[str, int]]:
    """Wait for a connection of *server*; return the connection to the proxy, and where it waits."""
    sock = connect(way)
    sock.sendall(b"\5\1\0" + b"\5\2\0\1" + ip_address(server).packed + port.to_bytes(2, "big"))
    assert receive(sock, 2) == b"\5\0"
    return sock, reply(sock)


def reply(sock: socket.socket) -> tuple[str, int]:
    version, code, _, kind = receive(sock, 4)
    assert (version, code) == (5, GRANTED)
    bound = receive(sock, {1: 6, 4: 18}[kind])
    return str(ip_address(bound[:-2])), int.from_bytes(bound[-2:], "big")


class FtpClient:
    """A client of FTP in active mode, which has the server connect to the proxy."""

    def __init__(self, way: Way) -> None:
        self.way = way
        code, self.control = socks5(way, SERVER, 21)
        assert code == GRANTED
        self.lines = self.control.makefile("rb")
        assert self.lines.readline().startswith(b"220")
        self.ask("USER me", "331")
        self.ask("PASS secret", "230")
        self.ask("TYPE I", "200")

    def ask(self, command: str, code: str) -> None:
        self.control.sendall(f"{command}\r\n".encode())
        answer = self.lines.readline().decode()
        assert answer.startswith(code), answer

    def port(self) -> socket.socket:
        """Have the server connect to the proxy next; return the data connection."""
        data, (host, port) = bind(self.way)
        numbers = [*host.split("."), str(port >> 8), str(port & 255)]
        self.ask(f"PORT {','.join(numbers)}", "200")
        return data

    def retrieve(self, name: str) -> bytes:
        with self.port() as data, data.makefile("rb") as octets:
            self.ask(f"RETR {name}", "1")
            reply(data)
            found = octets.read()
        assert self.lines.readline().startswith(b"226")
        return found

    def store(self, name: str, content: bytes) -> None:
        with self.port() as data:
            self.ask(f"STOR {name}", "1")
            reply(data)
            data.sendall(content)
        assert self.lines.readline().startswith(b"226")


def test_active_ftp(lab: ThreeHosts, start: Start, ways: Ways, tmp_path: Path) -> None:
    faithd = start(text())
    content = os.urandom(3_000_000)
    (tmp_path / "files").mkdir()
    (tmp_path / "files/file").write_bytes(content)
    served = ["-i", SERVER, "-p", "21", "-u", "me", "-P", "secret", "-w"]
    words = [sys.executable, "-m", "pyftpdlib", *served, "-d", str(tmp_path / "files")]
    with (tmp_path / "ftpd").open("w") as log:
        lab.server.popen(words, stdout=log, stderr=log)
    lab.server.wait_listening(21)
    client = FtpClient(ways.v6)
    with client.control, client.lines:
        client.store("new", content)
        assert client.retrieve("file") == content
    assert (tmp_path / "files/new").read_bytes() == content
    faithd.wait_said(f"sent=0 received={len(content)}")
    (line,) = [line for line in faithd.said.splitlines() if f"received={len(content)}" in line]
    assert f"method=socks5 mapped=[{GATEWAY_V6}]:{PROXY} asked={SERVER}:21" in line
    assert f"source={GATEWAY_V4}:" in line
    assert f"server={SERVER}:" in line


def test_only_the_host_that_is_waited_for_is_let_in(
    lab: ThreeHosts, start: Start, ways: Ways
) -> None:
    start(text())
    lab.server.links.add_address("to-gateway", "192.0.2.81/24")
    sock, at = bind(ways.v6)
    with sock:
        stranger = lab.server.call(lambda: socket.create_connection(at, 5, ("192.0.2.81", 0)))
        with stranger, pytest.raises(ConnectionResetError):
            stranger.recv(1)
        with lab.server.call(lambda: socket.create_connection(at, 5)) as peer:
            assert reply(sock) == peer.getsockname()[:2]


def test_the_rules_decide_who_is_waited_for(start: Start, ways: Ways) -> None:
    start(text(f'[access]\nrules = ["{CLIENT} deny {SERVER}", "::/0 permit 0.0.0.0/0"]'))
    sock = connect(ways.v6)
    with sock:
        sock.sendall(b"\5\1\0" + b"\5\2\0\1" + ip_address(SERVER).packed + b"\0\x15")
        assert receive(sock, 2) == b"\5\0"
        assert receive(sock, 2)[1] == DENIED


def test_a_source_of_a_rule_lets_in_by_the_supervisor(
    lab: ThreeHosts, start: Start, ways: Ways
) -> None:
    lab.gateway.links.add_address("to-server", "192.0.2.7/24")
    start(text('[access]\nrules = ["::/0 permit 0.0.0.0/0 192.0.2.7"]'))
    sock, at = bind(ways.v6)
    with sock:
        assert at[0] == "192.0.2.7"
        with lab.server.call(lambda: socket.create_connection(at, 5)) as peer:
            assert reply(sock) == peer.getsockname()[:2]
            peer.sendall(b"data")
            assert receive(sock, 4) == b"data"
