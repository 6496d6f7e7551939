"""TCP's DSCP from one leg to the other, where the file asks for it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import dscp_of, set_traffic_class
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

PORT = 2323
MAPPED = "192.0.2.102"
TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28  # linux/tcp.h
EXPEDITED, LOW = 46 << 2, 8 << 2
SERVICE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT},ftp"
"""
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
[maps]
"""


class Ends:
    """Sockets of both ends, which are closed at the end."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo

    def listener(self, host: Host, address: str, port: int = 0) -> socket.socket:
        """Return a listener that keeps the headers of SYNs."""

        def made() -> socket.socket:
            sock = socket.create_server((address, port), family=_family(address))
            sock.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
            sock.settimeout(5)
            return sock

        return self._undo.enter_context(host.call(made))

    def connect(self, host: Host, to: str, port: int, traffic_class: int) -> socket.socket:
        """Return a connection whose packets all have that class."""

        def made() -> socket.socket:
            sock = socket.socket(_family(to))
            sock.settimeout(5)
            set_traffic_class(sock, traffic_class)
            sock.connect((to, port))
            return sock

        return self._undo.enter_context(host.call(made))

    def lines(self, sock: socket.socket) -> BinaryIO:
        """Return what *sock* receives, to be read by lines."""
        return self._undo.enter_context(sock.makefile("rb"))

    def accept(self, listener: socket.socket) -> tuple[socket.socket, int]:
        """Return a connection, and the traffic class of its SYN."""
        accepted = self._undo.enter_context(listener.accept()[0])
        accepted.settimeout(5)
        syn = accepted.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 200)
        first = int.from_bytes(syn[:2], "big")
        return accepted, first >> 4 & 0xFF if first >> 12 == 6 else first & 0xFF


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as undo:
        yield Ends(undo)


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[[str], Gateway]:
    return lambda text: Gateway(lab, tmp_path, text)


def test_a_server_sees_the_class_of_the_client_if_asked_for(
    start: Callable[[str], Gateway], lab: ThreeHosts, ends: Ends
) -> None:
    faithd = start(SERVICE)
    there = ends.listener(lab.server, SERVER, PORT)
    for text, left in ((SERVICE, 0), (f"{SERVICE}dscp = true", 0xFF), (SERVICE, 0)):
        faithd.reload(text)
        for class_ in (EXPEDITED, 0, LOW):
            ends.connect(lab.client, lab.mapped(), PORT, class_)
            accepted, found = ends.accept(there)
            assert found == class_ & left
            assert dscp_of(accepted) == class_ & left  # of what comes after the SYN, too


def test_a_mapped_host_sees_the_class_of_the_client_if_asked_for(
    start: Callable[[str], Gateway], lab: ThreeHosts, ends: Ends
) -> None:
    faithd = start(SERVICE + MAP)
    there = ends.listener(lab.client, CLIENT, PORT)
    for text, left in ((SERVICE + MAP, 0), (f"{SERVICE}{MAP}dscp = true", 0xFF)):
        faithd.reload(text)
        for class_ in (EXPEDITED, 0):
            ends.connect(lab.server, MAPPED, PORT, class_)
            accepted, found = ends.accept(there)
            assert found == class_ & left
            assert dscp_of(accepted) == class_ & left


def test_data_connections_have_that_of_the_end_that_makes_them(
    start: Callable[[str], Gateway], lab: ThreeHosts, ends: Ends
) -> None:
    start(f"{SERVICE}dscp = true")
    serving = ends.listener(lab.server, SERVER, 21)
    control = ends.connect(lab.client, lab.mapped(), 21, 0)
    server, _ = ends.accept(serving)
    said, heard = ends.lines(server), ends.lines(control)
    server.sendall(b"220 ready\r\n")
    assert heard.readline() == b"220 ready\r\n"

    there = ends.listener(lab.server, SERVER)
    control.sendall(b"EPSV\r\n")
    said.readline()
    port = there.getsockname()[1]
    at = f"{SERVER.replace('.', ',')},{port >> 8},{port & 255}"
    server.sendall(f"227 Come in ({at})\r\n".encode())
    port = int(heard.readline().split(b"|")[3])
    ends.connect(lab.client, lab.mapped(), port, LOW)
    assert ends.accept(there)[1] == LOW

    here = ends.listener(lab.client, CLIENT)
    control.sendall(f"EPRT |2|{CLIENT}|{here.getsockname()[1]}|\r\n".encode())
    *_, high, low = said.readline().strip().split(b",")
    server.sendall(b"200 I will\r\n")
    assert heard.readline().startswith(b"200")
    ends.connect(lab.server, GATEWAY_V4, int(high) * 256 + int(low), EXPEDITED)
    assert ends.accept(here)[1] == EXPEDITED


def test_a_client_receives_its_own_class_where_the_kernel_reflects_it(
    start: Callable[[str], Gateway], lab: ThreeHosts, ends: Ends
) -> None:
    start(f"{SERVICE}dscp = true")
    there = ends.listener(lab.server, SERVER, PORT)
    for reflects, expected in ((0, 0), (1, EXPEDITED)):
        lab.gateway.sysctl("net.ipv4.tcp_reflect_tos", reflects)
        client = ends.connect(lab.client, lab.mapped(), PORT, EXPEDITED)
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        accepted, _ = ends.accept(there)
        accepted.sendall(b"answer")
        assert client.recv(100) == b"answer"
        assert dscp_of(client) == expected
