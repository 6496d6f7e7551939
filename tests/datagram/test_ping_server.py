from __future__ import annotations

import json
from typing import Any

from faith.datagram.ping.identifiers import Identifiers
from faith.datagram.ping.ping_counters import IDENTIFIERS, LAYOUT, PingCounters
from faith.datagram.ping.ping_server import IdentifierHandover


class Home:
    """A ping server but for what reads."""

    def __init__(self) -> None:
        self.cells = [0] * LAYOUT.size
        self.counters = PingCounters(self.cells)
        self.identifiers = Identifiers(60, 100)
        self.serves = False

    def serve(self) -> None:
        self.serves = True

    def sweep(self) -> None:
        self.counters.in_use(len(self.identifiers))


def test_what_is_taken_over_is_counted_before_anybody_asks_again() -> None:
    giver, taker = Home(), Home()
    giver.identifiers.assign((1, 7), 1 << 64, 10, 7, 0.0)
    giving: Any = giver
    taking: Any = taker
    states, descriptors = IdentifierHandover(giving).give(100)
    IdentifierHandover(taking).adopt(json.loads(json.dumps(states)), descriptors)
    assert taker.serves
    assert taker.identifiers.whose(7, 10, 1.0) == (1, 7)
    assert taker.cells[LAYOUT.start(IDENTIFIERS)] == 1
