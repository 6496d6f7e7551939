"""The guard, tried from another host and from the gateway itself: who answers under a prefix."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.sockets import tcp_sockets
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6
from faith.translation.ports import Ports
from faith.translation.prefix import LOW32, Prefix
from tests.netns.rights import without_capabilities
from tests.netns.steered import accept, ordinary_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::c000:250"
BYSTANDER = 8080
OPENED = 8081
NO_PORTS = Ports([])

IPV6_DSTOPTS = 59
IPV6_MTU = 24
ETH_P_IPV6 = 0x86DD
TCP, FRAGMENT, ICMPV6, SCTP = 6, 44, 58, 132
UNREACHABLE, TOO_BIG, ECHO_REQUEST, ECHO_REPLY = 1, 2, 128, 129
ADMIN_PROHIBITED = 1
SYN, SYN_ACK, RST_ACK = 0x02, 0x12, 0x14


@pytest.fixture
def gateway(lab: ThreeHosts) -> Host:
    """A gateway whose prefix is reserved and guarded."""
    lab.gateway.call(routes.reserve, PREFIX)
    lab.gateway.call(guard.install, [PREFIX], Ports([(OPENED, OPENED)]))
    return lab.gateway


@pytest.fixture
def client(lab: ThreeHosts) -> Host:
    return lab.client


@pytest.fixture
def nft(lab: ThreeHosts, need: Callable[[str], str]) -> Callable[[str], str]:
    """The real nft on the gateway, given a script."""
    program = need("nft")
    return lambda script: lab.gateway.run([program, "-f", "-"], stdin=script).stdout


def reach(host: Host, address: str, port: int) -> str:
    """The local address that a server was reached under."""
    with host.inside(), socket.create_connection((address, port), timeout=2) as connection:
        return str(connection.getpeername()[0])


def refuses(host: Host, address: str, port: int) -> bool:
    try:
        return not reach(host, address, port)
    except ConnectionRefusedError:
        return True


class TestConnections:
    def test_a_bystander_keeps_its_own_addresses_and_gets_none_of_the_prefix(
        self, gateway: Host, client: Host
    ) -> None:
        with ordinary_server(gateway, BYSTANDER):
            assert reach(client, GATEWAY_V6, BYSTANDER) == GATEWAY_V6
            assert refuses(client, MAPPED, BYSTANDER)
            assert refuses(gateway, MAPPED, BYSTANDER)
            assert reach(gateway, "::1", BYSTANDER) == "::1"

    def test_without_the_guard_the_bystander_would_answer(
        self, gateway: Host, client: Host
    ) -> None:
        gateway.call(guard.remove)
        with ordinary_server(gateway, BYSTANDER):
            assert reach(client, MAPPED, BYSTANDER) == MAPPED

    def test_a_transparent_listener_is_reached(self, gateway: Host, client: Host) -> None:
        with gateway.inside():
            listener = tcp_sockets.listener("::", 23, transparent=True)
        assert reach(client, MAPPED, 23) == MAPPED
        assert reach(gateway, MAPPED, 23) == MAPPED
        listener.close()
        assert refuses(client, MAPPED, 23)

    def test_an_opened_port_is_for_anyone(self, gateway: Host, client: Host) -> None:
        with ordinary_server(gateway, OPENED):
            assert reach(client, MAPPED, OPENED) == MAPPED

    def test_options_before_the_header_hide_nothing(self, gateway: Host, client: Host) -> None:
        padding = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # one destination option of padding
        with ordinary_server(gateway, BYSTANDER), client.inside():
            for address, code in ((GATEWAY_V6, 0), (MAPPED, 111)):
                with socket.socket(socket.AF_INET6) as sock:
                    sock.settimeout(2)
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, padding)
                    assert sock.connect_ex((address, BYSTANDER)) == code

    def test_a_connection_outlives_the_guards_replacement(
        self, gateway: Host, client: Host
    ) -> None:
        with gateway.inside():
            listener = tcp_sockets.listener("::", 23, transparent=True)
        with client.inside():
            near = socket.create_connection((MAPPED, 23), timeout=2)
        with near, accept(listener) as far:
            gateway.call(guard.install, [PREFIX])
            listener.close()
            near.sendall(b"still here")
            far.settimeout(2)
            assert far.recv(100) == b"still here"


class TestDatagrams:
    def test_a_bystander_hears_nothing_and_the_client_is_told(
        self, gateway: Host, client: Host
    ) -> None:
        with (
            ordinary_server(gateway, BYSTANDER, kind=socket.SOCK_DGRAM) as bystander,
            client.inside(),
        ):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.settimeout(2)
                sock.connect((MAPPED, BYSTANDER))
                sock.send(b"prefix")
                with pytest.raises(ConnectionRefusedError):
                    sock.recv(100)
                sock.sendto(b"own", (GATEWAY_V6, BYSTANDER))
            assert bystander.recv(100) == b"own"

    def test_a_transparent_socket_hears(self, gateway: Host, client: Host) -> None:
        with ordinary_server(gateway, BYSTANDER, kind=socket.SOCK_DGRAM) as sock, client.inside():
            sock.setsockopt(socket.IPPROTO_IPV6, tcp_sockets.IPV6_TRANSPARENT, 1)
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as near:
                near.sendto(b"prefix", (MAPPED, BYSTANDER))
            assert sock.recv(100) == b"prefix"


class TestOtherProtocols:
    @pytest.fixture
    def icmp(self, client: Host) -> Iterator[socket.socket]:
        """A raw socket of the client's that hears its ICMPv6."""
        with client.inside(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, ICMPV6) as icmp:
            icmp.settimeout(2)
            yield icmp

    @staticmethod
    def answer(icmp: socket.socket) -> tuple[int, int, str]:
        """Type, code and source of the next message that is not about neighbours."""
        while True:
            packet, (source, *_) = icmp.recvfrom(2000)
            if not 133 <= packet[0] <= 137 and packet[0] != ECHO_REQUEST:
                return packet[0], packet[1], source

    @pytest.mark.usefixtures("gateway")
    def test_an_echo_request_is_refused(self, icmp: socket.socket) -> None:
        ping = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 7, 1)
        icmp.sendto(ping, (MAPPED, 0))
        assert self.answer(icmp) == (UNREACHABLE, ADMIN_PROHIBITED, GATEWAY_V6)
        icmp.sendto(ping, (GATEWAY_V6, 0))
        assert self.answer(icmp) == (ECHO_REPLY, 0, GATEWAY_V6)

    def test_another_protocol_is_refused(
        self, gateway: Host, client: Host, icmp: socket.socket
    ) -> None:
        with raw(gateway, SCTP) as bystander, raw(client, SCTP) as near:
            near.sendto(b"prefix", (MAPPED, 0))
            assert self.answer(icmp) == (UNREACHABLE, ADMIN_PROHIBITED, GATEWAY_V6)
            near.sendto(b"own", (GATEWAY_V6, 0))
            assert bystander.recv(100) == b"own"

    def test_packet_too_big_is_heard(self, gateway: Host, client: Host) -> None:
        with gateway.inside():
            listener = tcp_sockets.listener("::", 23, transparent=True)
        with packets(client) as seen, client.inside():
            near = socket.create_connection((MAPPED, 23), timeout=2)
            with near, accept(listener) as far, raw(client, ICMPV6) as icmp:
                listener.close()
                assert far.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1500
                far.send(b"large")
                large = next(packet for packet in seen if packet.endswith(b"large"))
                # That one has arrived already: TCP believes it only of what is under way.
                following = (int.from_bytes(large[44:48], "big") + 5) % (1 << 32)
                quoted = large[:44] + following.to_bytes(4, "big") + large[48:]
                icmp.sendto(struct.pack("!BBHI", TOO_BIG, 0, 0, 1280) + quoted, (MAPPED, 0))
                wait_until(
                    lambda: far.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1280,
                    seconds=2,
                    what="the smaller MTU",
                )


class TestFragments:
    """A connection request cut in two, before and behind the end of the TCP header."""

    @pytest.mark.parametrize("cut", [8, 24])
    def test_none_passes(self, cut: int, gateway: Host, client: Host) -> None:
        with ordinary_server(gateway, BYSTANDER):
            assert SYN_ACK not in self.answers(client, MAPPED, cut)

    def test_none_passes_where_fragments_are_put_together_first(
        self, gateway: Host, client: Host, nft: Callable[[str], str]
    ) -> None:
        nft("table ip6 t { chain c { type filter hook prerouting priority 0; ct state new; }; }")
        with ordinary_server(gateway, BYSTANDER):
            assert self.answers(client, MAPPED, 24) == {RST_ACK}
            assert SYN_ACK not in self.answers(client, MAPPED, 8)

    def test_one_could_pass(self, gateway: Host, client: Host) -> None:
        with ordinary_server(gateway, BYSTANDER):
            assert self.answers(client, GATEWAY_V6, 24) == {SYN_ACK}

    @staticmethod
    def answers(client: Host, address: str, cut: int) -> set[int]:
        """The TCP flags of what the gateway answers to such a request."""
        segment = syn(CLIENT, address, BYSTANDER)
        with packets(client) as seen, raw(client, socket.IPPROTO_RAW) as near:
            for offset, more, part in ((0, 1, segment[:cut]), (cut, 0, segment[cut:])):
                fragment = struct.pack("!BxHI", TCP, offset | more, 0x5EED) + part
                near.sendto(ipv6(CLIENT, address, FRAGMENT, fragment), (address, 0))
            return {packet[53] for packet in seen if packet[6] == TCP}


@contextmanager
def raw(host: Host, protocol: int) -> Iterator[socket.socket]:
    with host.inside(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(2)
        yield sock


@contextmanager
def packets(client: Host) -> Iterator[Iterator[bytes]]:
    """Return what arrives from the gateway, until nothing has come for a while."""

    def arriving() -> Iterator[bytes]:
        with suppress(TimeoutError):
            while True:
                packet, (_, _, kind, *_) = sock.recvfrom(2000)
                if kind != socket.PACKET_OUTGOING:
                    yield packet

    with client.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.bind(("to-gateway", ETH_P_IPV6))
        yield arriving()


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    ends = IPv6Address(source).packed + IPv6Address(destination).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload


def syn(source: str, destination: str, port: int) -> bytes:
    """A connection request of 32 octets, with room for a cut behind the header's first 24."""
    options = bytes([2, 4, 5, 0xA0]) + bytes([1] * 8)

    def segment(checksum: int) -> bytes:
        fixed = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 8 << 4, SYN, 65535, checksum, 0)
        return fixed + options

    ends = IPv6Address(source).packed + IPv6Address(destination).packed
    total = ends + struct.pack("!II", 32, TCP) + segment(0)
    return segment(-sum(struct.unpack(f"!{len(total) // 2}H", total)) % 0xFFFF)


class TestTable:
    """The guard in the kernel, compared with nft's view."""

    PORTS = Ports([(22, 22), (8000, 8100), (65535, 65535)])
    PREFIXES = tuple(
        map(
            Prefix.parse,
            ("2001:db8:ffff::/96", "2001:db8:ffff:0:0:1::/96", "2001:db8:fffe::/65", "fc00::/7"),
        )
    )

    @pytest.fixture
    def listed(self, lab: ThreeHosts, need: Callable[[str], str]) -> Callable[[], str]:
        program = need("nft")
        return lambda: lab.gateway.run([program, "list", "ruleset"]).stdout

    def test_what_is_printed_is_what_is_installed(
        self, gateway: Host, nft: Callable[[str], str], listed: Callable[[], str]
    ) -> None:
        gateway.call(guard.install, self.PREFIXES, self.PORTS)
        installed, state = listed(), gateway.call(guard.inspect)
        gateway.call(guard.remove)
        assert not listed()
        for _ in range(2):  # and it can be replayed
            nft(guard.render(self.PREFIXES, self.PORTS))
            assert listed() == installed
        assert gateway.call(guard.inspect) == state
        assert state.intact

    def test_nft_lists_it_as_text(self, gateway: Host, listed: Callable[[], str]) -> None:
        gateway.call(guard.install, self.PREFIXES, self.PORTS)
        text = " ".join(listed().split())
        assert "elements = { 22, 8000-8100, 65535 }" in text
        assert "elements = { 2001:db8:fffe::/65, 2001:db8:ffff::/96," in text
        assert "ip6 daddr @prefixes jump reserved" in text
        assert "reject with icmpv6 admin-prohibited" in text

    def test_an_inner_prefix_is_covered_by_the_outer(self, gateway: Host) -> None:
        outer, inner = Prefix.parse("2001:db8:fffe::/64", LOW32), Prefix.parse("2001:db8:fffe::/96")
        gateway.call(guard.install, [inner, outer])
        state = gateway.call(guard.inspect)
        assert state.networks == {(outer.address, 64)}
        assert state.covers(inner)
        assert state.covers(outer)
        assert not state.covers(PREFIX)

    def test_installing_replaces(self, gateway: Host) -> None:
        for prefixes, ports in (((PREFIX,), NO_PORTS), (self.PREFIXES, self.PORTS), ((), NO_PORTS)):
            gateway.call(guard.install, prefixes, ports)
            state = gateway.call(guard.inspect)
            assert (state.present, state.intact) == (True, True)
            assert state.networks == {(prefix.address, prefix.length) for prefix in prefixes}
            assert state.open_ports == ports

    @pytest.mark.parametrize(
        "harm",
        [
            "flush chain ip6 faith reserved",
            "flush chain ip6 faith guard",
            "insert rule ip6 faith guard accept",
            "insert rule ip6 faith reserved tcp dport 8080 accept",
            "add rule ip6 faith reserved accept",
            "add chain ip6 faith other",
            "add chain ip6 faith guard { policy drop; }",
            "add table ip6 faith { flags dormant; }",
            "flush chain ip6 faith guard; delete chain ip6 faith guard",
            """flush chain ip6 faith guard
               add rule ip6 faith guard ip6 daddr != @prefixes jump reserved""",
            """flush chain ip6 faith guard; delete chain ip6 faith guard
               add chain ip6 faith guard { type filter hook output priority 0; }
               add rule ip6 faith guard ip6 daddr @prefixes jump reserved""",
        ],
    )
    def test_harm_is_seen_and_repaired(
        self, harm: str, gateway: Host, nft: Callable[[str], str]
    ) -> None:
        assert gateway.call(guard.inspect).intact
        nft(harm)
        state = gateway.call(guard.inspect)
        assert (state.present, state.intact) == (True, False)
        gateway.call(guard.install, [PREFIX])
        assert gateway.call(guard.inspect).intact

    def test_counting_is_no_harm(self, gateway: Host, client: Host) -> None:
        with ordinary_server(gateway, BYSTANDER):
            assert refuses(client, MAPPED, BYSTANDER)
        assert gateway.call(guard.inspect).intact

    def test_a_flushed_ruleset_is_seen(self, gateway: Host, nft: Callable[[str], str]) -> None:
        nft("flush ruleset")
        assert gateway.call(guard.inspect) == guard.GuardState()

    def test_removing_says_whether_there_was_anything(self, gateway: Host) -> None:
        assert gateway.call(guard.remove)
        assert not gateway.call(guard.remove)

    def test_other_tables_are_left_alone(self, gateway: Host, nft: Callable[[str], str]) -> None:
        nft("table ip6 other { chain c { }; }; table inet faith { chain c { }; }")
        gateway.call(guard.install, [PREFIX])
        gateway.call(guard.remove)
        nft("delete table ip6 other; delete table inet faith")

    def test_the_missing_right_is_named(self, gateway: Host) -> None:
        with gateway.inside():
            for action in (lambda: guard.install([PREFIX]), guard.remove, guard.inspect):
                with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
                    without_capabilities(action)
