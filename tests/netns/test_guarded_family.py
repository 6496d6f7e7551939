"""Who may send from guarded addresses: any process can bind(2) to one, because it is local."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import mapped_routes, routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import NETWORKS, NOBODY
from faith.kernel.sockets.tcp_sockets import IPV6_FREEBIND
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from faith.translation.ports import NO_PORTS, Ports
from faith.translation.prefix import Prefix
from tests.netns.gateway import Gateway
from tests.netns.service import Echo, answers, connect_from
from tests.netns.steered import ordinary_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.netns.conftest import Fork, Report

pytestmark = pytest.mark.netns

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED6, MAPPED4, ANOTHER4 = "2001:db8:ffff::c000:250", "192.0.2.102", "192.0.2.103"
FIRST, LAST = 0xC0000266, 0xC0000267
SOMEBODY, RELAY = 1234, 2345
PORT = 7777


@pytest.fixture
def gateway(lab: ThreeHosts) -> Host:
    """A gateway with a guarded prefix and two guarded networks."""
    lab.gateway.call(guard.install, [PREFIX], NO_PORTS, [RELAY])
    lab.gateway.call(routes.reserve, PREFIX)
    lab.gateway.call(NETWORKS.install, [(FIRST, LAST)], NO_PORTS, [RELAY])
    lab.gateway.call(mapped_routes.hold, [(FIRST, 32), (LAST, 32)], os.getpid())
    return lab.gateway


@pytest.fixture
def servers(lab: ThreeHosts) -> Iterator[dict[str, Echo]]:
    """One at the IPv6 host and one at the IPv4 host, by the address that a test sends from."""
    found = {MAPPED6: Echo(lab.client, PORT, CLIENT), MAPPED4: Echo(lab.server, PORT, SERVER)}
    yield found
    for server in found.values():
        server.close()


@pytest.fixture
def by(gateway: Host, fork: Fork) -> Callable[..., object]:
    """``by(user, action, …)`` does it as a user of the gateway: what came of it, or the errno."""

    inside: list[AbstractContextManager[None]] = []

    def act(user: int, action: Callable[..., object], *arguments: object) -> object:
        def body(report: Report) -> object:
            inside.append(gateway.inside())
            inside[-1].__enter__()  # for good: that user may not leave it
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            try:
                return action(*arguments)
            except OSError as error:
                return error.errno

        return fork(body).report()

    return act


def bound(source: str, kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    sock = socket.socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    sock.bind((source, 0))
    sock.settimeout(2)
    return sock


def connection(source: str, to: str) -> str:
    with bound(source, socket.SOCK_STREAM) as sock:
        sock.connect((to, PORT))
        return str(sock.getsockname()[0])


def datagram(source: str, to: str) -> int:
    with bound(source, socket.SOCK_DGRAM) as sock:
        return sock.sendto(b"hello", (to, PORT))


def connected_datagrams(source: str, to: str) -> int:
    with bound(source, socket.SOCK_DGRAM) as sock:
        sock.connect((to, PORT))
        sock.send(b"refused")
        return sock.send(b"and told")


@pytest.mark.parametrize(("source", "to"), [(MAPPED6, CLIENT), (MAPPED4, SERVER)])
class TestSenders:
    def test_who_does_not_relay_connects_from_no_guarded_address(
        self, by: Callable[..., object], servers: dict[str, Echo], source: str, to: str
    ) -> None:
        assert by(SOMEBODY, connection, source, to) in (errno.EACCES, errno.EHOSTUNREACH)
        assert servers[source].peers == []

    @pytest.mark.parametrize("user", [0, NOBODY, RELAY])
    def test_who_relays_does(
        self, by: Callable[..., object], servers: dict[str, Echo], source: str, to: str, user: int
    ) -> None:
        assert by(user, connection, source, to) == source
        wait_until(lambda: servers[source].peers == [source], 5, "the server having it")

    def test_no_datagram_leaves_either(
        self, lab: ThreeHosts, by: Callable[..., object], source: str, to: str
    ) -> None:
        host = lab.client if ":" in to else lab.server
        with ordinary_server(host, PORT, to, socket.SOCK_DGRAM) as heard:
            by(SOMEBODY, datagram, source, to)
            by(SOMEBODY, connected_datagrams, source, to)
            assert by(RELAY, datagram, source, to) == 5
            assert heard.recvfrom(100)[0] == b"hello"
            heard.settimeout(0.2)
            with pytest.raises(TimeoutError):
                heard.recvfrom(100)

    def test_addresses_of_the_hosts_own_are_anybodys(
        self, by: Callable[..., object], servers: dict[str, Echo], source: str, to: str
    ) -> None:
        own = GATEWAY_V6 if ":" in source else GATEWAY_V4
        assert by(SOMEBODY, connection, own, to) == own


class TestAnswers:
    """What is sent for a connection that was judged as it arrived, or by no socket."""

    def test_an_opened_port_answers_whoever_serves_it(
        self, lab: ThreeHosts, gateway: Host, fork: Fork
    ) -> None:
        gateway.call(guard.install, [PREFIX], Ports([(PORT, PORT)]))
        with gateway.inside():
            listener = socket.create_server(("::", PORT), family=socket.AF_INET6)

        def serve(report: Report) -> None:
            os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
            accepted, _ = listener.accept()
            accepted.sendall(accepted.recv(100))
            accepted.close()  # its FIN is of no socket of a process

        child = fork(serve)
        listener.close()
        with connect_from(lab.client, MAPPED6, PORT) as session:
            assert answers(session)
            assert session.recv(100) == b""
        assert child.report() is None

    def test_a_refusal_arrives(self, lab: ThreeHosts, gateway: Host) -> None:
        for host, address in ((lab.client, MAPPED6), (lab.server, MAPPED4)):
            with pytest.raises(ConnectionRefusedError):
                connect_from(host, address, PORT)

    def test_who_connects_to_a_mapped_address_here_needs_no_right(
        self, by: Callable[..., object]
    ) -> None:
        """The kernel gives such a connection the address that it goes to."""

        def refused(address: str) -> None:
            socket.create_connection((address, PORT), 2)

        for address in (MAPPED4, MAPPED6):
            assert by(SOMEBODY, refused, address) == errno.ECONNREFUSED


def test_the_user_of_a_daemons_workers_may(lab: ThreeHosts, reserved: str, tmp_path: Path) -> None:
    """The daemon connects from the client's mapped address, under a guard that was there before."""
    text = f'''
    user = "daemon"
    [[service]]
    ports = "80"
    [[map]]
    v4 = "{MAPPED4}"
    v6 = "{CLIENT}"
    '''
    server = Echo(lab.client, PORT, CLIENT)
    Gateway(lab, tmp_path, text)
    with connect_from(lab.server, MAPPED4, PORT) as session:
        assert answers(session)
    assert server.peers == [MAPPED6]
    users = lab.gateway.call(guard.inspect).users
    assert users == guard.USERS | {pwd.getpwnam("daemon").pw_uid}
    server.close()
