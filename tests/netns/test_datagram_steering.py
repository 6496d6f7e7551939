"""Datagrams to networks led to one socket: on every port, in both families, in both ways."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from faith.errors import SetupError
from faith.kernel.descriptor import descriptors
from faith.kernel.sockets.udp_sockets import arrivals, receive
from faith.kernel.steering import datagram_steering
from faith.kernel.steering.datagram_steering import DatagramSteering
from tests.datagram.wires import number

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    Network = tuple[int, int]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("local")]


@dataclass(frozen=True)
class Case:
    """Addresses of one family: of a *network*, of a *hole* in it, and *outside*."""

    family: int
    network: Network
    inside: str
    hole: str
    outside: str


V6 = Case(
    socket.AF_INET6,
    (number("2001:db8:a::"), 48),
    "2001:db8:a::1",
    "2001:db8:a:8::1",
    "2001:db8:b::1",
)
V4 = Case(
    socket.AF_INET, (number("198.51.100.0"), 24), "198.51.100.1", "198.51.100.200", "203.0.113.1"
)
PORTS = (1, 53, 65535)


@pytest.fixture
def local(private_network: None) -> None:
    """All the addresses are this host's, by routes."""
    for network in ("2001:db8::/32", "198.51.100.0/24", "203.0.113.0/24"):
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)


@pytest.fixture(params=["sk_lookup", "tproxy"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


@pytest.fixture(params=[V6, V4], ids=["v6", "v4"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def sock(case: Case) -> Iterator[_socket.socket]:
    made = arrivals(case.family)
    yield made
    made.close()


def arrives(sock: _socket.socket, case: Case, address: str, port: int = 53) -> bool:
    """Return whether a datagram comes to *sock*; else its sender gets an ICMP error at once."""
    with socket.socket(case.family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.connect((address, port))
        sender.send(b"hello")
        ready, _, _ = select.select([sock, sender], [], [], 5)
        if ready == [sender]:
            with pytest.raises(ConnectionRefusedError):
                sender.recv(10)
            return False
        assert ready == [sock]
        found = receive(sock)
    assert (found.destination, found.port) == (socket.inet_pton(case.family, address), port)
    return True


def test_every_port_of_the_networks_and_nothing_else(
    way: str, case: Case, sock: _socket.socket
) -> None:
    lead = DatagramSteering.create(sock, way)
    assert lead.method == way
    assert not arrives(sock, case, case.inside)
    lead.replace([case.network])
    assert [arrives(sock, case, case.inside, port) for port in PORTS] == [True, True, True]
    assert not arrives(sock, case, case.outside)
    lead.replace([])
    assert not arrives(sock, case, case.inside)
    lead.close()


def test_a_hole_is_left_to_the_host(way: str, case: Case, sock: _socket.socket) -> None:
    lead = DatagramSteering.create(sock, way)
    bits = 128 if case is V6 else 32
    lead.replace([case.network], [(number(case.hole), bits)])
    assert arrives(sock, case, case.inside)
    assert not arrives(sock, case, case.hole)
    lead.replace([case.network])
    assert arrives(sock, case, case.hole)
    lead.close()


def test_it_lasts_until_it_is_closed(way: str, case: Case, sock: _socket.socket) -> None:
    before = os.listdir("/proc/self/fd")
    lead = DatagramSteering.create(sock, way)
    lead.replace([case.network])
    lead.close()
    assert not arrives(sock, case, case.inside)
    assert os.listdir("/proc/self/fd") == before


def test_the_next_program_goes_on_with_it(way: str, case: Case, sock: _socket.socket) -> None:
    first = DatagramSteering.create(sock, way)
    first.replace([case.network])
    copies = {fd: os.dup(fd) for fd in descriptors(first.state())}
    state = json.loads(json.dumps(first.state()))
    first.close()
    for fd, copy in copies.items():  # as execve(2) leaves them
        os.dup2(copy, fd)
        os.close(copy)
    again = DatagramSteering.adopt(state, sock)
    assert again.method == way
    assert arrives(sock, case, case.inside)
    again.replace([])
    assert not arrives(sock, case, case.inside)
    again.close()


def refuse(*anything: object) -> Any:
    raise SetupError("try", "not here")


class TestTheWay:
    @pytest.fixture
    def case(self) -> Case:
        return V6

    def test_for_want_of_bpf_it_is_tproxy(
        self, sock: _socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(datagram_steering._METHODS, "sk_lookup", refuse)
        lead = DatagramSteering.create(sock, "auto")
        assert lead.method == "tproxy"
        lead.close()

    def test_one_that_was_asked_for_is_the_only_one_tried(
        self, sock: _socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(datagram_steering._METHODS, "tproxy", refuse)
        with pytest.raises(SetupError, match=r"^try: not here$"):
            DatagramSteering.create(sock, "tproxy")

    def test_every_reason_is_told_when_none_is_open(
        self, sock: _socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for way in ("sk_lookup", "tproxy"):
            monkeypatch.setitem(datagram_steering._METHODS, way, refuse)
        with pytest.raises(
            SetupError, match="no method works; sk_lookup: try: not here; tproxy: try"
        ):
            DatagramSteering.create(sock, "auto")
