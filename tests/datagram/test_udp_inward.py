from __future__ import annotations

from typing import Any

from faith.datagram import icmp
from faith.datagram.packet import ICMPV6, Packet, write_v6
from faith.datagram.udp.counters import LAYOUT, Counters
from faith.datagram.udp.flows import Flows, Settings
from faith.datagram.udp.inward import Inward
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.maps import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from tests.datagram.wires import Wire, arrival, by_v6, number

PREFIX = Prefix.parse("2001:db8:ffff::/96")
CLIENT, HOST, MAPPED, ALIAS = "192.0.2.9", "2001:db8:a::2", "198.51.100.102", "198.51.100.103"
SOURCE = str(Prefix.parse("2001:db8:ffff::/96").map(number(CLIENT)))
ROUTER = number("2001:db8:b::1")
PORT, SERVED = 7000, 5555
MAPS = Maps(
    [
        Map((number(MAPPED), 32), (number(HOST), 128)),
        Map((number(ALIAS), 32), (number(HOST), 128), direction="in"),
    ]
)


class Bench:
    """An `Inward` and what it sends by."""

    def __init__(self, settings: Settings | None = None) -> None:
        policy = Policy(Prefixes([PREFIX]), Networks(32, ()), Access.parse(""), MAPS)
        self.cells = [0] * LAYOUT.size
        self.v4, self.v6 = Wire(), Wire()
        self.flows = Flows(settings or Settings())
        v4: Any = self.v4
        v6: Any = self.v6
        self.inward = Inward(policy, self.flows, v4, v6, Counters(self.cells))

    def ask(self, port: int = PORT, mapped: str = MAPPED, payload: bytes = b"hello") -> Packet:
        """Send as a client; the packet that goes to the host."""
        asked = arrival((CLIENT, port), (mapped, SERVED), payload)
        assert self.inward.arrived(asked, 0.0) is None
        return by_v6(self.v6)


def error(about: Packet, kind: int, code: int, word: int = 0, quoted: int = 1232) -> Packet:
    """What a router of the IPv6 side says of a packet."""
    message = icmp.write(icmp.Message(kind, code, word, write_v6(about)[:quoted]))
    return Packet(ROUTER, about.source, 60, 0, ICMPV6, len(message), message)


class TestErrors:
    def test_a_length_that_no_ipv4_packet_has_is_not_believed(self) -> None:
        bench = Bench()
        lying = bench.ask()._replace(length=0xFFFF)
        assert bench.inward.failed(error(lying, 1, 4)) is None
