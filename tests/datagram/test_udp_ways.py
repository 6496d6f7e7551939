from __future__ import annotations

import gc
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from faith.datagram.pace import Paces
from faith.datagram.udp.counters import Counters
from faith.datagram.udp.flows import Flow, Flows, Settings
from faith.datagram.udp.outward import Outward, Way
from faith.kernel.udp_sockets import Arrival
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = PREFIX.map(int.from_bytes(bytes([127, 0, 0, 1]), "big"))
HOPS = struct.pack("=i", 64)


def policy() -> Policy:
    """One that lets everybody reach this host itself."""
    return Policy(Prefixes([PREFIX]), Networks(32, []), Access.parse("::/0 permit 127.0.0.1/32"))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


class Bench:
    """An `Outward`, whose clients ask *server*; answers go nowhere."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.flows = Flows(Settings())
        self.outward = Outward(
            policy(), self.flows, server, Counters(), Paces(0, 0), _nothing, _nothing
        )

    def ask(self, client_port: int, now: float = 0.0) -> None:
        port = self.server.getsockname()[1]
        original = struct.pack("!2xH4x16s4x", port, IPv6Address(MAPPED).packed)
        source = "2001:db8:6::2", client_port, 0, 0
        assert self.outward.arrived(Arrival(b"hello", source, original, HOPS), now) is None
        assert self.server.recv(100) == b"hello"

    def end(self) -> None:
        """All flows, as if it were late."""
        for flow in self.flows.expire(1e9):
            self.outward.end(flow)


def _nothing(flow: Flow) -> None:
    """Whose socket nobody looks at."""


def remembered() -> int:
    """How many ways there are in this process."""
    gc.collect()
    return sum(isinstance(one, Way) for one in gc.get_objects())


def test_nothing_is_kept_of_flows_that_have_ended(server: socket.socket) -> None:
    bench = Bench(server)
    for client_port in range(4000, 4010):
        bench.ask(client_port)
    assert remembered() == 10
    bench.end()
    assert remembered() == 0


def test_another_policy_forgets_ways_and_no_flow(server: socket.socket) -> None:
    bench = Bench(server)
    bench.ask(4000)
    bench.ask(4001)
    bench.outward.policy = policy()
    assert remembered() == 0
    bench.ask(4000)
    assert (remembered(), len(bench.flows)) == (1, 2)
    bench.end()
    assert remembered() == 0
