"""The PROXY protocol's header: when it is sent, and when not."""

from __future__ import annotations

import contextlib
import ftplib
import io
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import CLIENT, PREFIX, SERVER
from faith.translation.proxy_protocol import V1, V2, header
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[[str], Gateway]

pytestmark = pytest.mark.netns


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by services."""
    return lambda text: Gateway(lab, tmp_path, f'[[prefix]]\naddress = "{PREFIX}"\n{text}')


def service(ports: object, more: str = "") -> str:
    return f'[[service]]\nports = "{ports}"\n{more}\n'


def introduction(lab: ThreeHosts, version: str, client: socket.socket) -> bytes:
    return header(version, (CLIENT, client.getsockname()[1]), (lab.mapped(), PORT))


def receive(sock: socket.socket, size: int) -> bytes:
    return sock.recv(size, socket.MSG_WAITALL)


@pytest.mark.parametrize("version", [V1, V2])
def test_it_comes_first_and_is_not_counted(
    lab: ThreeHosts, start: Start, listener: socket.socket, version: str
) -> None:
    faithd = start(service(PORT, f'proxy = "{version}"'))
    with connect(lab) as client, listener.accept()[0] as server:
        server.settimeout(5)
        expected = introduction(lab, version, client)
        assert receive(server, len(expected)) == expected, "before the client says anything"
        server.sendall(b"220 a server that speaks first")
        assert client.recv(100) == b"220 a server that speaks first"
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert receive(server, 100) == b"hello"
    faithd.wait_said("sent=5 received=30")


def test_a_reload_changes_it(lab: ThreeHosts, start: Start, listener: socket.socket) -> None:
    faithd = start(service(PORT))
    with connect(lab) as client, listener.accept()[0] as server:
        client.sendall(b"hello")
        assert server.recv(100) == b"hello"
    faithd.write(f'[[prefix]]\naddress = "{PREFIX}"\n' + service(PORT, 'proxy = "v2"'))
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("read again")
    with connect(lab) as client, listener.accept()[0] as server:
        expected = introduction(lab, V2, client)
        assert receive(server, len(expected)) == expected


@pytest.mark.parametrize("passive", [True, False])
def test_data_connections_have_none(lab: ThreeHosts, start: Start, passive: bool) -> None:
    start(service("ftp") + service("1024-65535", 'proxy = "v1"'))
    server = FtpServer(lab.server)
    server.files["file"] = b"octets"
    received = io.BytesIO()

    def fetch() -> None:
        with ftplib.FTP(timeout=10) as ftp:
            ftp.connect(lab.mapped(), 21)
            ftp.login("me", "secret")
            ftp.set_pasv(passive)
            ftp.storbinary("STOR new", io.BytesIO(b"nothing before it"))
            ftp.retrbinary("RETR file", received.write)

    with contextlib.closing(server):
        lab.client.call(fetch)
    assert server.files["new"] == b"nothing before it"
    assert received.getvalue() == b"octets"


@pytest.mark.parametrize("more", ["", 'alg = "ftp"', 'alg = "rsh"'])
def test_not_for_what_makes_connections_to_its_client(start: Start, more: str) -> None:
    with pytest.raises(
        AssertionError, match=r"faith.toml:\d+: service.proxy: port 21 is relayed as"
    ):
        start(service("ftp", f'{more}\nproxy = "v1"'))


def test_it_comes_once_though_another_program_took_over_meanwhile(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(service(PORT, 'proxy = "v2"'))
    # There is room for one connection, so that the next waits until it has been accepted.
    server = lab.server.call(lambda: socket.create_server((SERVER, PORT), backlog=0))
    server.settimeout(10)
    with server, contextlib.ExitStack() as waiting:
        waiting.enter_context(lab.gateway.call(socket.create_connection, (SERVER, PORT), 5))
        client = waiting.enter_context(connect(lab))
        client.sendall(b"hello")
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=30)
        server.accept()[0].close()
        connection = waiting.enter_context(server.accept()[0])
        expected = introduction(lab, V2, client) + b"hello"
        client.shutdown(socket.SHUT_WR)
        assert receive(connection, 1000) == expected
    faithd.wait_said("sent=5")
