"""Mapped IPv4 networks as the kernel has them: routes, ARP, and the guard."""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.netlink import mapped_routes, routes
from faith.kernel.nft.guard import NETWORKS
from faith.kernel.sockets import tcp_sockets
from faith.kernel.steering import mapped_steering
from faith.lab.topology import GATEWAY_V4
from faith.lab.waiting import wait_until
from tests.netns.rights import without_capabilities
from tests.netns.steered import ordinary_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from faith.lab import Host, ThreeHosts
    from tests.netns.conftest import Fork, Report

pytestmark = pytest.mark.netns

MAPPED = "192.0.2.102"
NET = int(ipaddress.ip_address(MAPPED)), 32
ROUTED = int(ipaddress.ip_address("198.51.100.0")), 24
OURS = os.getpid()
BYSTANDER = 8080
IPPROTO_SCTP = 132
UNREACHABLE, ADMIN_PROHIBITED, ECHO_REPLY, ECHO_REQUEST = 3, 13, 0, 8


def ranges(*networks: tuple[int, int]) -> list[tuple[int, int]]:
    return [(address, address + (1 << 32 - length) - 1) for address, length in networks]


@pytest.fixture
def gateway(lab: ThreeHosts) -> Host:
    return lab.gateway


@pytest.fixture
def node(lab: ThreeHosts) -> Host:
    """The IPv4-only one, which is the client here."""
    return lab.server


def held(gateway: Host) -> dict[int, set[tuple[int, int]]]:
    return gateway.call(mapped_routes.held)


class TestRoutes:
    def test_they_come_and_go_and_leave_nothing(self, gateway: Host) -> None:
        before = gateway.links.routes()
        gateway.call(mapped_routes.hold, [NET, ROUTED], OURS)
        assert held(gateway) == {OURS: {NET, ROUTED}}
        gateway.call(mapped_routes.hold, [NET], OURS)
        gateway.call(mapped_routes.release, [NET], OURS)
        assert held(gateway) == {OURS: {ROUTED}}
        gateway.call(mapped_routes.release, [NET, ROUTED], OURS)
        assert gateway.links.routes() == before

    def test_each_process_has_its_own(self, gateway: Host) -> None:
        gateway.call(mapped_routes.hold, [NET], OURS)
        gateway.call(mapped_routes.hold, [NET], OURS + 1)
        gateway.call(mapped_routes.release, [NET], OURS)
        assert held(gateway) == {OURS + 1: {NET}}

    def test_they_are_no_addresses_of_the_gateways_own(self, gateway: Host) -> None:
        before = gateway.call(routes.own_ipv4)
        gateway.call(mapped_routes.hold, [NET], OURS)
        assert gateway.call(routes.own_ipv4) == before

    def test_an_address_of_an_interface_stays_what_it_is(self, gateway: Host, node: Host) -> None:
        before = gateway.links.routes()
        own = int(ipaddress.ip_address(GATEWAY_V4)), 32
        gateway.call(mapped_routes.hold, [own], OURS)
        gateway.call(mapped_routes.release, [own], OURS)
        assert gateway.links.routes() == before

    def test_many_are_held_in_a_moment(self, gateway: Host) -> None:
        many = [(10 << 24 | 2 * number, 32) for number in range(5000)]
        gateway.call(mapped_routes.hold, many, OURS)
        assert held(gateway) == {OURS: set(many)}
        gateway.call(mapped_routes.release, [*many, NET], OURS)
        assert held(gateway) == {}

    def test_the_missing_right_is_named(self, gateway: Host) -> None:
        with gateway.inside():
            for action in (
                lambda: mapped_routes.hold([NET], OURS),
                lambda: NETWORKS.change(ranges(NET)),
                lambda: NETWORKS.is_intact(ranges(NET)),
            ):
                with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
                    without_capabilities(action)


class TestArp:
    @staticmethod
    def learns(node: Host, address: str) -> bool:
        """Return whether *node* resolves *address* to a link address."""
        with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"?", (address, 9))

        def known() -> bool:
            told = node.run(["ip", "neigh", "show", address]).stdout
            return "lladdr" in told or "FAILED" in told

        wait_until(known, 5, "an answer to ARP, or none")
        return "lladdr" in node.run(["ip", "neigh", "show", address]).stdout

    def test_the_gateway_answers_for_what_is_mapped(self, gateway: Host, node: Host) -> None:
        gateway.call(mapped_routes.hold, [NET], OURS)
        assert self.learns(node, MAPPED)

    def test_for_a_mapped_network_too(self, gateway: Host, node: Host) -> None:
        gateway.call(mapped_routes.hold, [(NET[0] & ~7, 29)], OURS)
        assert self.learns(node, MAPPED)

    def test_it_answers_for_nothing_else(self, gateway: Host, node: Host) -> None:
        gateway.call(mapped_routes.hold, [ROUTED], OURS)
        assert not self.learns(node, MAPPED)

    def test_what_keeps_it_from_answering_is_told(self, gateway: Host, node: Host) -> None:
        gateway.call(mapped_routes.hold, [NET], OURS)
        gateway.sysctl("net.ipv4.conf.to-server.arp_ignore", 1)

        def told(*networks: tuple[int, int]) -> list[str]:
            return gateway.call(lambda: list(mapped_routes.unanswered(networks)))

        assert not self.learns(node, MAPPED)
        (warning,) = told(NET, ROUTED)
        assert warning.startswith("to-server answers ARP for its own addresses alone")
        assert "192.0.2.0/24" in warning
        assert told(ROUTED) == []
        gateway.sysctl("net.ipv4.conf.to-server.arp_ignore", 0)
        assert told(NET) == []


@pytest.fixture
def guarded(gateway: Host) -> Host:
    gateway.call(NETWORKS.change, ranges(NET))
    gateway.call(mapped_routes.hold, [NET], OURS)
    return gateway


def server(gateway: Host, kind: int = socket.SOCK_STREAM) -> AbstractContextManager[socket.socket]:
    """Somebody else's, on every address."""
    return ordinary_server(gateway, BYSTANDER, "0.0.0.0", kind)


def reaches(host: Host, address: str, port: int) -> bool:
    with host.inside():
        try:
            socket.create_connection((address, port), timeout=2).close()
        except ConnectionRefusedError:
            return False
        return True


class TestGuard:
    def test_a_bystander_keeps_its_own_addresses_and_gets_nothing_mapped(
        self, guarded: Host, node: Host
    ) -> None:
        with server(guarded):
            assert reaches(node, GATEWAY_V4, BYSTANDER)
            assert not reaches(node, MAPPED, BYSTANDER)
            assert not reaches(guarded, MAPPED, BYSTANDER)
            guarded.call(NETWORKS.change, [])
            assert reaches(node, MAPPED, BYSTANDER)

    def test_a_transparent_listener_is_reached(self, guarded: Host, node: Host) -> None:
        with guarded.inside():
            listener = tcp_sockets.listener("0.0.0.0", 23, transparent=True)
        assert reaches(node, MAPPED, 23)
        listener.close()
        assert not reaches(node, MAPPED, 23)

    def test_a_datagram_for_a_bystander_is_refused(self, guarded: Host, node: Host) -> None:
        with server(guarded, socket.SOCK_DGRAM) as bystander, node.inside():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(2)
                sock.connect((MAPPED, BYSTANDER))
                sock.send(b"mapped")
                with pytest.raises(ConnectionRefusedError):
                    sock.recv(100)
                sock.connect((GATEWAY_V4, BYSTANDER))
                sock.send(b"own")
            assert bystander.recv(100) == b"own"

    @pytest.mark.usefixtures("guarded")
    def test_an_echo_request_is_refused(self, node: Host) -> None:
        ping = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0xF7FF - 7 - 1, 7, 1)
        with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as icmp:
            icmp.settimeout(2)
            for address, answer in (
                (MAPPED, (UNREACHABLE, ADMIN_PROHIBITED)),
                (GATEWAY_V4, (0, 0)),
            ):
                icmp.sendto(ping, (address, 0))
                packet, (source, _) = icmp.recvfrom(2000)
                assert (packet[20], packet[21]) == answer
                assert source in (address, GATEWAY_V4)

    @pytest.mark.usefixtures("guarded")
    def test_another_protocol_is_refused(self, node: Host) -> None:
        with (
            node.inside(),
            socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_SCTP) as raw,
            socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as icmp,
        ):
            icmp.settimeout(2)
            raw.sendto(b"mapped", (MAPPED, 0))
            packet = icmp.recv(2000)
            assert (packet[20], packet[21]) == (UNREACHABLE, ADMIN_PROHIBITED)


class TestTable:
    @pytest.fixture
    def nft(self, gateway: Host, need: Callable[[str], str]) -> Callable[[str], str]:
        program = need("nft")
        return lambda script: gateway.run([program, "-f", "-"], stdin=script).stdout

    @pytest.fixture
    def listed(self, gateway: Host, need: Callable[[str], str]) -> Callable[[], str]:
        program = need("nft")
        return lambda: gateway.run([program, "list", "ruleset"]).stdout

    WANTED = (*ranges(NET, ROUTED), (0xC6336508, 0xC633650B), (0xFFFFFF00, 0xFFFFFFFF))

    def test_what_is_printed_is_what_is_installed(
        self, gateway: Host, nft: Callable[[str], str], listed: Callable[[], str]
    ) -> None:
        gateway.call(NETWORKS.change, self.WANTED)
        installed = listed()
        assert gateway.call(NETWORKS.is_intact, self.WANTED)
        gateway.call(NETWORKS.change, [])
        assert not listed()
        for _ in range(2):
            nft(NETWORKS.render(self.WANTED))
            assert listed() == installed
        assert gateway.call(NETWORKS.is_intact, self.WANTED)

    def test_a_change_takes_what_is_gone_and_adds_what_is_new(self, gateway: Host) -> None:
        for wanted in (self.WANTED, self.WANTED[1:], self.WANTED[:2], ranges(NET)):
            gateway.call(NETWORKS.change, wanted)
            assert gateway.call(NETWORKS.is_intact, wanted)
            assert not gateway.call(NETWORKS.is_intact, ())

    @pytest.mark.parametrize(
        "harm",
        [
            "flush chain ip faith mapped",
            "insert rule ip faith guard accept",
            "delete element ip faith networks { 192.0.2.102 }",
            "add element ip faith networks { 203.0.113.1 }",
            "delete table ip faith",
        ],
    )
    def test_harm_is_seen_and_repaired(
        self, harm: str, guarded: Host, nft: Callable[[str], str]
    ) -> None:
        before = guarded.call(NETWORKS.generation)
        assert guarded.call(NETWORKS.generation) == before
        nft(harm)
        assert guarded.call(NETWORKS.generation) != before
        assert not guarded.call(NETWORKS.is_intact, ranges(NET))
        guarded.call(NETWORKS.change, ranges(NET))
        assert guarded.call(NETWORKS.is_intact, ranges(NET))

    def test_the_guard_of_the_prefixes_is_another(
        self, gateway: Host, listed: Callable[[], str], reserved: str
    ) -> None:
        before = listed()
        gateway.call(NETWORKS.change, ranges(NET))
        gateway.call(NETWORKS.change, [])
        assert listed() == before


@pytest.mark.parametrize("way", ["sk_lookup", "tproxy", "auto"])
class TestSteering:
    @pytest.fixture(autouse=True)
    def _allowed(self, way: str, request: pytest.FixtureRequest) -> None:
        if way == "sk_lookup":
            request.getfixturevalue("bpf_allowed")

    @staticmethod
    def accepts(steering: mapped_steering.MappedSteering) -> tuple[str, int] | None:
        """What the connection that waits at one of the listeners was to."""
        listeners = [one for (one,) in steering.listeners]
        ready, _, _ = select.select(listeners, [], [], 1)
        if not ready:
            return None
        fd, _ = ready[0]._accept()  # type: ignore[attr-defined]
        with socket.socket(fileno=fd) as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            address, port = accepted.getsockname()
            return address, port

    def test_every_port_of_what_is_mapped_arrives(
        self, way: str, guarded: Host, node: Host
    ) -> None:
        with guarded.inside(), mapped_steering.create(way, 2) as steering:
            assert not reaches(node, MAPPED, 22)
            steering.steer([NET], [])
            for port in (1, 22, 80, 65535):
                assert reaches(node, MAPPED, port)
                assert self.accepts(steering) == (MAPPED, port)
            assert reaches(guarded, MAPPED, 80)
            assert self.accepts(steering) == (MAPPED, 80)
            steering.steer([], [])
            assert not reaches(node, MAPPED, 22)

    def test_an_address_of_the_gateways_own_is_left_to_it(
        self, way: str, guarded: Host, node: Host
    ) -> None:
        own = int(ipaddress.ip_address(GATEWAY_V4)), 32
        with guarded.inside(), mapped_steering.create(way, 1) as steering, server(guarded):
            steering.steer([(own[0] & ~127, 25)], [own])
            assert reaches(node, GATEWAY_V4, BYSTANDER)
            assert self.accepts(steering) is None
            assert reaches(node, MAPPED, BYSTANDER)
            assert self.accepts(steering) == (MAPPED, BYSTANDER)

    def test_another_program_goes_on_with_it(
        self, way: str, guarded: Host, node: Host, fork: Fork
    ) -> None:
        def another(report: Report) -> object:
            again = mapped_steering.adopt(first.state())
            report(again.state() == first.state())
            report(self.accepts(again))
            again.steer([], [])
            return "done"

        with guarded.inside(), mapped_steering.create(way, 2) as first:
            first.steer([NET], [])
            child = fork(another)
            assert child.report()
            assert reaches(node, MAPPED, 80)
            assert child.report() == (MAPPED, 80)
            assert child.report() == "done"
            assert not reaches(node, MAPPED, 80)

    def test_close_leaves_nothing(self, way: str, guarded: Host) -> None:
        with guarded.inside():
            before = os.listdir("/proc/self/fd")
            mapped_steering.create(way, 2).close()
            assert os.listdir("/proc/self/fd") == before
