from __future__ import annotations

import errno
import gc
import itertools
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from faith.datagram import icmp
from faith.datagram.checksum import holds, pseudo_v6
from faith.datagram.pace import Paces
from faith.datagram.packet import ICMP, UDP, Packet, read_v6, write_v4
from faith.datagram.udp.paths import ForwardPath
from faith.datagram.udp.udp_counters import LAYOUT, UdpCounters
from faith.datagram.udp.udp_server import ERRORS, ERRORS_PER_CLIENT
from faith.datagram.udp.udp_v6_to_v4 import UdpV6ToV4
from faith.datagram.udp.v6_sender import V6Sender
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.udp.flows import Flow, Flows, UdpSettings
from tests.datagram.wires import Endpoint, Wire, arrival, number, packet

if TYPE_CHECKING:
    from faith.datagram.send import Send

PREFIX, WELL_KNOWN = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("64:ff9b::/96")
CLIENT, NEIGHBOUR = "2001:db8:6::2", "2001:db8:6::3"
GATEWAY, SERVER, PRIVATE = "203.0.113.1", "192.0.2.80", "10.0.0.1"
SOURCE = "198.51.100.7"
PORT, SERVED = 7000, 53


def mapped(v4: str, prefix: Prefix = PREFIX) -> str:
    return str(IPv6Address(prefix.map(number(v4))))


class Bench:
    """An `UdpV6ToV4`, the sockets of its flows, and what it sends path by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sockets: list[Wire] = []
        self.sources: list[str | None] = []
        ports = itertools.count(40000)

        def flow_socket(source: str | None, port: int) -> Wire:
            self.sockets.append(Wire(port if source else next(ports)))
            self.sources.append(source)
            return self.sockets[-1]

        monkeypatch.setattr("faith.datagram.udp.udp_v6_to_v4.flow_socket", flow_socket)
        self.cells = [0] * LAYOUT.size
        self.path = Wire()
        path: Any = self.path
        self.flows = Flows(UdpSettings())
        self.watched: list[Flow] = []
        self.v6_to_v4 = UdpV6ToV4(
            self.policy(),
            self.flows,
            V6Sender(path, path, 1280),
            UdpCounters(self.cells),
            Paces(ERRORS, ERRORS_PER_CLIENT),
            self.watched.append,
            self.watched.remove,
        )

    def policy(self, rules: str = "") -> Policy:
        own = Networks(32, [(number(GATEWAY), 32)])
        return Policy(Prefixes([PREFIX, WELL_KNOWN]), own, Access.parse(rules))

    def send(
        self,
        to: str = SERVER,
        *,
        client: Endpoint = (CLIENT, PORT),
        port: int = SERVED,
        prefix: Prefix = PREFIX,
        now: float = 0.0,
    ) -> Send | None:
        """Send as a client; what it is told."""
        return self.v6_to_v4.forward(arrival(client, (mapped(to, prefix), port)), now)

    def sent(self) -> Packet:
        """The packet of the datagram that has gone to IPv4 last."""
        octets, _, to = self.sockets[-1].sent[-1]
        return packet((self.sources[-1] or GATEWAY, self.sockets[-1].port), to, octets)

    def fails(self, octets: bytes, by: str = SERVER) -> Send | None:
        """What comes of an ICMP message that *by* sends."""
        about = Packet(number(by), number(GATEWAY), 60, 0, ICMP, len(octets), octets)
        return self.v6_to_v4.translate_error(about)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def error(about: Packet, kind: int = 3, code: int = 3, quoted: int = 548) -> bytes:
    return icmp.write(icmp.Message(kind, code, 0, write_v4(about)[:quoted]))


class TestErrors:
    def test_it_has_the_clients_own_packet(self, bench: Bench) -> None:
        assert bench.send() is None
        told = bench.fails(error(bench.sent()))
        assert told
        assert (told.source, told.to) == (PREFIX.map(number(SERVER)), number(CLIENT))
        message = icmp.read(told.message)
        assert message
        assert (message.kind, message.code) == (1, 4)
        inner = read_v6(message.body)
        assert inner
        assert inner._replace(hops=3) == packet((CLIENT, PORT), (mapped(SERVER), SERVED))

    @pytest.mark.parametrize("quoted", [28, 30])
    def test_its_checksum_is_the_clients_though_the_rest_is_missing(
        self, bench: Bench, quoted: int
    ) -> None:
        bench.send()
        told = bench.fails(error(bench.sent(), quoted=quoted))
        assert told
        inner = read_v6(told.message[8:])
        assert inner
        whole = inner.payload[:8] + b"hello"
        assert holds(whole, pseudo_v6(inner.source, inner.destination, inner.length, UDP))

    def test_what_does_not_add_up_is_dropped(self, bench: Bench) -> None:
        bench.send()
        told = error(bench.sent())
        assert bench.fails(told[:-1] + b"!") is None

    def test_less_than_a_header_is_not_enough(self, bench: Bench) -> None:
        bench.send()
        for quoted in range(28):
            assert bench.fails(error(bench.sent(), quoted=quoted)) is None

    def test_the_well_known_prefix_stands_for_no_private_router(self, bench: Bench) -> None:
        bench.send("8.8.8.8", prefix=WELL_KNOWN)
        told = bench.fails(error(bench.sent(), 11, 0), by=PRIVATE)
        assert told
        assert told.source is None

    def test_the_gateways_own_comes_from_the_gateway(self, bench: Bench) -> None:
        bench.send()
        told = bench.fails(error(bench.sent(), 3, 1), by=GATEWAY)
        assert told
        assert told.source is None

    def test_what_is_about_something_else_is_dropped(self, bench: Bench) -> None:
        bench.send()
        sent = bench.sent()
        for about in (
            sent._replace(destination=number(PRIVATE)),
            sent._replace(protocol=6),
            sent._replace(payload=b"\0\0" + sent.payload[2:]),
        ):
            assert bench.fails(error(about)) is None
        assert bench.fails(icmp.echo(icmp.ECHO_V4, 1, 1, b"")) is None
        assert bench.fails(b"") is None


class TestFilter:
    def test_who_was_not_sent_to_finds_no_flow(self, bench: Bench) -> None:
        """What comes to a mapped address may be for a map then: a server that also asks."""
        rules = Access.parse(f"::/0 permit 0.0.0.0/0 {SOURCE}")
        bench.v6_to_v4.policy = Policy(Prefixes([PREFIX]), Networks(32, ()), rules)
        bench.send()
        at = SOURCE, PORT
        assert bench.v6_to_v4.whose(arrival((SERVER, 9), at), 1.0) is bench.watched[0]
        assert bench.v6_to_v4.whose(arrival((PRIVATE, 9), at), 1.0) is None
        assert bench.v6_to_v4.whose(arrival((SERVER, 9), (SOURCE, PORT + 1)), 1.0) is None


class TestFlows:
    """RFC 4787: what refreshes and ends a flow, and what it depends on."""

    def test_rfc4787_req_6_what_comes_in_keeps_no_flow(self, bench: Bench) -> None:
        bench.send()
        (flow,) = bench.watched
        due = flow.due
        bench.v6_to_v4.send_back(flow, b"hello", (SERVER, SERVED), 0, 9.0)
        assert len(bench.path.sent) == 1
        assert flow.due == due
        assert bench.flows.expire(due) == [flow]

    def test_rfc4787_req_12_an_error_ends_no_flow_and_keeps_none(self, bench: Bench) -> None:
        bench.send()
        (flow,) = bench.watched
        due = flow.due
        for kind, code in ((3, 0), (3, 1), (3, 3), (3, 13), (11, 0)):
            assert bench.fails(error(bench.sent(), kind, code))
        assert bench.flows.find(flow.key) is flow
        assert flow.due == due
        bench.v6_to_v4.send_back(flow, b"hello", (SERVER, SERVED), 0, 1.0)
        assert len(bench.path.sent) == 1
        bench.send()
        assert len(bench.sockets) == 1

    def test_rfc4787_req_11_order_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sends = (
            (SERVER, (CLIENT, PORT)),
            (PRIVATE, (CLIENT, PORT)),
            (SERVER, (NEIGHBOUR, PORT)),
            (GATEWAY, (CLIENT, PORT + 1)),
        )
        seen = []
        for order in itertools.permutations(sends):
            bench = Bench(monkeypatch)
            told = {(to, client): bench.send(to, client=client) for to, client in order}
            allowed = {
                (flow.key, peer, bench.flows.lets_in(flow, number(peer), 1.0))
                for flow in bench.flows
                for peer in (SERVER, PRIVATE, "192.0.2.81")
            }
            seen.append((told, allowed))
        assert all(one == seen[0] for one in seen)
        assert len(seen[0][1]) == 6


class TestHairpin:
    """RFC 4787 REQ-9: clients reach each other by the endpoints that they have at IPv4."""

    RULES = f"{CLIENT}/128 permit 0.0.0.0/0 {SOURCE}\n::/0 permit 0.0.0.0/0"

    def heard_from(self, bench: Bench) -> Endpoint:
        """Whom the client that has heard something last takes the sender for."""
        octets, control, _ = bench.path.sent[-1]
        return str(IPv6Address(control[0][2][:16])), int.from_bytes(octets[:2], "big")

    def test_who_has_an_address_of_its_own_is_seen_by_it(self, bench: Bench) -> None:
        bench.v6_to_v4.policy = bench.policy(self.RULES)
        bench.send()
        bench.send(client=(NEIGHBOUR, PORT))
        theirs = bench.watched[1].ends.port
        bench.send(SOURCE, client=(NEIGHBOUR, PORT), port=PORT)  # so that it may hear from there
        bench.send(GATEWAY, port=theirs)
        assert self.heard_from(bench) == (mapped(SOURCE), PORT)
        assert len(bench.flows) == 2

    def test_who_has_none_is_seen_by_the_gateways(self, bench: Bench) -> None:
        bench.send()
        bench.send(client=(NEIGHBOUR, PORT))
        ours, theirs = (flow.ends.port for flow in bench.watched)
        bench.send(GATEWAY, client=(NEIGHBOUR, PORT), port=ours)
        assert not bench.path.sent  # it has sent nothing there yet
        bench.send(GATEWAY, port=theirs)
        assert self.heard_from(bench) == (mapped(GATEWAY), ours)
        assert len(bench.flows) == 2

    def test_the_gateways_other_ports_stay_refused(self, bench: Bench) -> None:
        assert bench.send(GATEWAY, port=22)
        assert len(bench.flows) == 0


def remembered() -> int:
    """How many path_keys there are in this process."""
    gc.collect()
    return sum(isinstance(one, ForwardPath) for one in gc.get_objects())


class TestMemory:
    def test_nothing_is_kept_of_flows_that_have_ended(self, bench: Bench) -> None:
        for port in range(4000, 4010):
            bench.send(client=(CLIENT, port))
        assert remembered() == 10
        for flow in bench.flows.expire(1000.0):
            bench.v6_to_v4.end(flow)
        assert remembered() == 0

    def test_another_policy_forgets_paths_and_no_flow(self, bench: Bench) -> None:
        bench.send(client=(CLIENT, 4000))
        bench.send(client=(CLIENT, 4001))
        bench.v6_to_v4.policy = bench.policy()
        assert remembered() == 0
        bench.send(client=(CLIENT, 4000))
        assert (remembered(), len(bench.flows)) == (1, 2)

    def test_strangers_leave_nothing_behind(self, bench: Bench) -> None:
        bench.send()
        (flow,) = bench.watched
        for port in range(100):
            bench.v6_to_v4.send_back(flow, b"hello", (PRIVATE, port), 0, 1.0)
        assert not flow.ends.return_paths
        bench.v6_to_v4.send_back(flow, b"hello", (SERVER, SERVED), 0, 1.0)
        assert list(flow.ends.return_paths) == [(SERVER, SERVED)]

    def test_return_paths_are_limited_for_all_flows_together(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("faith.datagram.udp.udp_v6_to_v4.MOST_RETURN_PATHS", 100)
        bench.send()
        bench.send(client=(NEIGHBOUR, PORT))
        for port in range(1000):
            for flow in bench.watched:
                bench.v6_to_v4.send_back(flow, b"hello", (SERVER, port), 0, 1.0)
            assert sum(len(flow.ends.return_paths) for flow in bench.watched) <= 100
        assert len(bench.path.sent) == 2000

    def test_a_flow_that_cannot_be_watched_leaves_nothing_behind(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(flow: Flow) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(bench.v6_to_v4, "_watch", full)
        assert bench.send()
        assert bench.sockets[0].closed
        assert not len(bench.flows)
        own = arrival((SERVER, SERVED), (GATEWAY, bench.sockets[0].port))
        assert bench.v6_to_v4.whose(own, 1.0) is None

    def test_a_flow_that_has_ended_lets_go_of_everything(self, bench: Bench) -> None:
        bench.send()
        (flow,) = bench.watched
        bench.v6_to_v4.send_back(flow, b"hello", (SERVER, SERVED), 0, 1.0)
        for ended in bench.flows.expire(1000.0):
            bench.v6_to_v4.end(ended)
        assert bench.sockets[0].closed
        assert not bench.watched
        assert not flow.ends.return_paths
        assert not flow.peers
        bench.send(now=1000.0)
        assert len(bench.sockets) == 2


class TestRefusals:
    def test_a_source_inside_the_prefix_is_dropped_in_silence(self, bench: Bench) -> None:
        assert bench.send(client=(mapped(SERVER), PORT)) is None
        assert not bench.sockets

    def test_what_goes_no_further_has_no_flow(self, bench: Bench) -> None:
        last = arrival((CLIENT, PORT), (mapped(SERVER), SERVED), hops=1)
        told = bench.v6_to_v4.forward(last, 0.0)
        assert told
        assert told.message[0] == icmp.TIME_EXCEEDED_V6
        assert not bench.sockets

    def test_nobody_is_not_answered(self, bench: Bench) -> None:
        """To the kernel, :: as a destination is the gateway itself."""
        assert bench.send(client=("::", PORT)) is None
        assert not bench.sockets

    def test_what_is_refused_is_told_so_many_times_a_second(self, bench: Bench) -> None:
        told = [bench.send("127.0.0.1") for _ in range(1000)]
        assert told[0]
        assert sum(send is not None for send in told) == ERRORS_PER_CLIENT
        assert bench.send("127.0.0.1", client=("2001:db8:7::1", PORT))
        assert bench.send("127.0.0.1", now=5.0)
        assert bench.send() is None
        assert len(bench.sockets) == 1
