"""FTP and rsh: what arrived before an end is delivered before that end, on every connection."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import bind_reserved
from faith.lab.topology import CLIENT, GATEWAY_V4, SERVER
from tests.netns.ends import (
    MAPPED,
    SECONDS,
    Daemon,
    read_to_reset,
    send_and_reset,
    through,
)
from tests.netns.gateway import Gateway
from tests.netns.way import inward, outward

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.ends import Ends

pytestmark = pytest.mark.netns

FTP, RSH = 21, 514
SIZES = 1, 1_000, 60_000
MUCH = 1_000_000
"""More than anybody says on a control connection."""
LINE = b"SITE of several words, as lines of some length go\r\n"


class Ftp(Daemon):
    """Control connections, after the greeting; what goes over them are lines."""

    is_bulk = False

    def open(self) -> Ends:
        client = self.way.connection()
        server, _ = self.listener.accept()
        for sock in (client, server):
            self._opened.append(sock)
            sock.settimeout(SECONDS)
        self.say(server, b"220 Hello\r\n", client)
        return client, server

    def say(self, speaker: socket.socket, line: bytes, hearer: socket.socket) -> bytes:
        """Have *speaker* say *line*; what *hearer* hears instead."""
        speaker.sendall(line)
        heard = b""
        while not heard.endswith(b"\n"):
            heard += hearer.recv(200)
        return heard

    def data(self, size: int) -> bytes:
        return (LINE * (size // len(LINE) + 1))[:size]


class Encrypted(Ftp):
    """Control connections that nobody reads."""

    is_bulk = True

    def open(self) -> Ends:
        client, server = super().open()
        self.say(client, b"AUTH TLS\r\n", server)
        self.say(server, b"234 Go ahead\r\n", client)
        return client, server

    def data(self, size: int) -> bytes:
        return os.urandom(size)


class PassiveData(Ftp):
    """Data connections that the clients make."""

    is_bulk = True

    def open(self) -> Ends:
        client, server = super().open()
        self.say(client, b"EPSV\r\n", server)
        with self.way.server.inside():
            family = socket.AF_INET if ":" not in self.way.own else socket.AF_INET6
            listener = socket.create_server((self.way.own, 0), family=family)
        with listener:
            port = listener.getsockname()[1]
            reply = b"227 (192,0,2,80,%d,%d)\r\n" % (port >> 8, port & 255)
            told = self.say(server, reply, client)
            with self.way.client.inside():
                to = self.way.address, int(told.split(b"|")[3])
                data = socket.create_connection(to, SECONDS)
            other, _ = listener.accept()
        other.settimeout(SECONDS)
        self._opened += [data, other]
        return data, other

    def data(self, size: int) -> bytes:
        return os.urandom(size)


class ActiveData(PassiveData):
    """Data connections that the servers make."""

    def open(self) -> Ends:
        client, server = Ftp.open(self)
        with self.way.client.inside():
            listener = socket.create_server(("::", 0), family=socket.AF_INET6)
        with listener:
            port = listener.getsockname()[1]
            eprt = b"EPRT |2|%s|%d|\r\n" % (CLIENT.encode(), port)
            told = self.say(client, eprt, server)
            *address, high, low = told.split()[1].decode().split(",")
            with self.way.server.inside():
                to = ".".join(address), int(high) * 256 + int(low)
                other = socket.create_connection(to, SECONDS)
            data, _ = listener.accept()
        data.settimeout(SECONDS)
        self._opened += [data, other]
        return data, other


class Errors(Ftp):
    """The second connections of rsh."""

    is_bulk = True

    def open(self) -> Ends:
        with self.way.client.inside():
            listener = socket.socket(socket.AF_INET6)
            port = bind_reserved(listener, "::")
            listener.listen()
        with listener:
            client = self.way.connection()
            server, _ = self.listener.accept()
            self._opened += [client, server]
            client.sendall(b"%d\0" % port)
            told = b""
            while not told.endswith(b"\0"):
                told += server.recv(1)
            with self.way.server.inside():
                errors = socket.socket()
                bind_reserved(errors, SERVER)
                errors.settimeout(SECONDS)
                errors.connect((GATEWAY_V4, int(told[:-1])))
            heard, _ = listener.accept()
        heard.settimeout(SECONDS)
        self._opened += [heard, errors]
        return heard, errors

    def data(self, size: int) -> bytes:
        return os.urandom(size)


def prefix(lab: ThreeHosts, directory: Path, *more: str, ports: str = "ftp") -> Gateway:
    tables = f'[[prefix]]\naddress = "{lab.prefix}"\n[[service]]\nports = "{ports}"\n'
    return Gateway(lab, directory, f"workers = 2\n{tables}" + "".join(more))


def with_map(lab: ThreeHosts, directory: Path) -> Gateway:
    return prefix(lab, directory, f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n')


PATHS: dict[str, Callable[[ThreeHosts, Path], Ftp]] = {
    "control": lambda lab, path: Ftp(outward(lab, FTP), prefix(lab, path)),
    "control, upgraded": lambda lab, path: Ftp(outward(lab, FTP), prefix(lab, path), upgrade=True),
    "control by a map": lambda lab, path: Ftp(
        inward(lab, MAPPED, CLIENT, FTP), with_map(lab, path)
    ),
    "encrypted": lambda lab, path: Encrypted(outward(lab, FTP), prefix(lab, path)),
    "passive": lambda lab, path: PassiveData(outward(lab, FTP), prefix(lab, path)),
    "passive by a map": lambda lab, path: PassiveData(
        inward(lab, MAPPED, CLIENT, FTP), with_map(lab, path)
    ),
    "active": lambda lab, path: ActiveData(outward(lab, FTP), prefix(lab, path)),
    "active, mapped": lambda lab, path: ActiveData(outward(lab, FTP), with_map(lab, path)),
    "stderr of rsh": lambda lab, path: Errors(outward(lab, RSH), prefix(lab, path, ports="shell")),
}


@pytest.mark.parametrize("closer", ["client", "server"])
@pytest.mark.parametrize("path", PATHS)
def test_data_then_a_reset(lab: ThreeHosts, tmp_path: Path, path: str, closer: str) -> None:
    with through(PATHS[path](lab, tmp_path)) as passage:
        assert isinstance(passage, Ftp)
        cases = []
        for size in (*SIZES, MUCH) if passage.is_bulk else SIZES:
            for unread in (True, False):
                ends = passage.open()
                closing, reading = ends if closer == "client" else ends[::-1]
                cases.append((passage.data(size), unread, closing, reading))
        passage.settle()
        for data, unread, closing, reading in cases:
            if unread:
                reading.sendall(b"NOOP\r\n" if closer == "server" else b"200 Unasked\r\n")
            send_and_reset(closing, data, unread=unread)
            got, end = read_to_reset(reading)
            assert (got == data, end) == (True, "reset"), (len(data), unread, len(got))


@pytest.mark.parametrize("path", ["control", "control, upgraded", "control by a map"])
def test_a_last_line_and_a_fin(lab: ThreeHosts, tmp_path: Path, path: str) -> None:
    with through(PATHS[path](lab, tmp_path)) as passage:
        opened = [passage.open() for _ in range(4)]
        passage.settle()
        for client, server in opened[:2]:
            server.sendall(b"421 Too many users, bye")
            server.close()
            assert read_to_reset(client) == (b"421 Too many users, bye", "end")
        for client, server in opened[2:]:
            client.sendall(b"QUIT")
            client.shutdown(socket.SHUT_WR)
            assert read_to_reset(server) == (b"QUIT", "end")
            server.sendall(b"221 Bye")
            server.close()
            assert read_to_reset(client) == (b"221 Bye", "end")


def test_a_server_that_sends_the_client_away(lab: ThreeHosts, tmp_path: Path) -> None:
    """Its words and the reset may meet the connection while it is dialled."""
    with through(PATHS["control"](lab, tmp_path)) as passage:
        for _ in range(20):
            with passage.way.connection() as client:
                client.settimeout(SECONDS)
                server, _ = passage.listener.accept()
                send_and_reset(server, b"421 Too many users, bye", unread=False)
                assert read_to_reset(client) == (b"421 Too many users, bye", "reset")


def test_an_rshd_that_sends_the_client_away(lab: ThreeHosts, tmp_path: Path) -> None:
    """It says why on the first connection, whether or not the client has said its port."""
    with through(PATHS["stderr of rsh"](lab, tmp_path)) as passage:
        for said in (b"", b"77", b"777\0", b"0\0me\0you\0ls\0"):
            for unread in (True, False) if said[2:] else (False,):
                with passage.way.connection() as client:
                    client.settimeout(SECONDS)
                    server, _ = passage.listener.accept()
                    client.sendall(said)
                    send_and_reset(server, b"\1Permission denied.\n", unread=unread)
                    assert read_to_reset(client) == (b"\1Permission denied.\n", "reset")


def test_an_rsh_client_that_goes_early(lab: ThreeHosts, tmp_path: Path) -> None:
    with through(PATHS["stderr of rsh"](lab, tmp_path)) as passage:
        for said in (b"77", b"0\0me\0you\0ls\0"):
            client = passage.way.connection()
            server, _ = passage.listener.accept()
            with server:
                server.settimeout(SECONDS)
                send_and_reset(client, said, unread=False)
                assert read_to_reset(server) == (said, "reset")
