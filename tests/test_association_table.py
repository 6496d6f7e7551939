"""The limits of associations, and of what they send to."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from faith.relay.proxy import association_table
from faith.relay.proxy.association_table import LARGEST, PLACES, AssociationTable
from faith.relay.tcp.relay_counters import ASSOCIATIONS, DATAGRAM_REFUSALS, LAYOUT, Counters
from faith.translation.ports import ALL_PORTS
from faith.translation.reasons import CLIENT_FLOWS, CLIENT_SHARE, EXPIRED, FLOWS
from faith.translation.udp.flows import Flow, UdpSettings
from tests.test_happy_dial import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE, BOB = 1 << 64, 2 << 64
SERVER = (10, 4500)


@dataclass
class Holder:
    """Whoever sends by a flow, and why it ended."""

    ends: list[str] = field(default_factory=list)

    def over(self, why: str) -> None:
        self.ends.append(why)


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.loop = uvloop.new_event_loop()
        self.cells = [0] * LAYOUT.size
        counters = Counters(self.cells)
        self.table = AssociationTable(self.loop, UdpSettings(**settings), counters, 4 * PLACES)
        self.keys = iter(range(1 << 20))

    def begin(self, client: int = ALICE) -> tuple[Flow | str, Holder]:
        holder = Holder()
        return self.table.begin((next(self.keys),), client, holder, SERVER), holder


@pytest.fixture
def made() -> Iterator[list[Bench]]:
    benches: list[Bench] = []
    yield benches
    for bench in benches:
        bench.table.close()
        bench.loop.close()


def test_each_client_has_a_share_of_the_associations(made: list[Bench]) -> None:
    bench = Bench()
    made.append(bench)
    table = bench.table
    for _ in range(2):
        assert table.refuses(1) is None
        table.enter(1)
    assert table.refuses(1) == CLIENT_SHARE
    assert table.refuses(2) is None
    table.enter(2)
    assert bench.cells[LAYOUT.start(ASSOCIATIONS)] == 3
    for client in 1, 1, 2:
        table.leave(client)
    assert bench.cells[LAYOUT.start(ASSOCIATIONS)] == 0
    assert table.refuses(1) is None


def test_a_flow_of_who_has_more_than_a_share_makes_room(made: list[Bench]) -> None:
    bench = Bench(flows=4)
    made.append(bench)
    of_alice = [bench.begin() for _ in range(2)]
    assert bench.begin()[0] == CLIENT_FLOWS, "half of them, and no more, while some are free"
    bench.table.limit(UdpSettings(flows=2))
    assert bench.begin()[0] == FLOWS
    flow, _ = bench.begin(BOB)
    assert isinstance(flow, Flow)
    assert sorted(holder.ends for _, holder in of_alice) == [[], [CLIENT_FLOWS]]
    assert bench.cells[LAYOUT.cells(DATAGRAM_REFUSALS)[CLIENT_FLOWS]] == 1
    bench.table.end(flow)
    assert isinstance(bench.begin(BOB)[0], Flow)


def test_what_is_not_sent_to_expires(made: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association_table, "SWEEP", 0.01)
    bench = Bench(short=0.01, short_ports=ALL_PORTS)
    made.append(bench)
    bench.table.enter(1)
    _, holder = bench.begin()
    until(bench.loop, lambda: holder.ends)
    assert holder.ends == [EXPIRED]


def test_the_room_for_datagrams_is_shared_and_given_back(made: list[Bench]) -> None:
    bench = Bench()
    made.append(bench)
    bench.table.enter(1)
    batch = bench.table.batch(socket.AF_INET)
    assert bench.table.batch(socket.AF_INET) is batch
    assert bench.table.batch(socket.AF_INET6) is not batch
    bench.table.leave(1)
    assert bench.table.batch(socket.AF_INET) is not batch
    assert LARGEST >= 65527, "the payload of a datagram of IPv6"
