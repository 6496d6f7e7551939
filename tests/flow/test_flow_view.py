from __future__ import annotations

import pytest

from faith.flow.flow_view import NO_REPORTS, FlowView, why_closed
from faith.kernel.flow.layout import (
    CLOSED,
    ESTABLISHED,
    FIN4,
    FIN6,
    RST4,
    RST6,
    SUSPECT,
    SYNACK,
    Side,
    Slot,
)
from faith.translation.reasons import END
from tests.flow.stand import CLIENT, MAPPED, SERVER, SOURCE, octets

SECOND = 1_000_000_000


def slot(state: int = 0) -> Slot:
    sides = Side(last=5 * SECOND, packets=3, octets=100), Side(last=7 * SECOND, packets=4, octets=9)
    ends = octets(CLIENT), octets(MAPPED), octets(SOURCE), octets(SERVER)
    return Slot(*ends, 2000, 40000, 80, 1, 2, 0, 0, 0, 0, 0, 0, state, 77, 2 * SECOND, *sides)


def test_a_view_has_endpoints_counts_and_times() -> None:
    view = FlowView(slot(), 10 * SECOND)
    assert view.client == (CLIENT, 40000)
    assert view.mapped == ("2001:db8:ffff::c633:6450", 80)
    assert view.source == (SOURCE, 2000)
    assert view.server == (SERVER, 80)
    assert (view.sent, view.received, view.packets) == (100, 9, (3, 4))
    assert (view.age, view.idle, view.serial) == (8, 3, 77)
    NO_REPORTS.begun(view)
    NO_REPORTS.ended(view, "closed")
    NO_REPORTS.refused("shed", b"", 1, b"", 2)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (0, "opening"),
        (SYNACK, "answered"),
        (SYNACK | ESTABLISHED, "established"),
        (SYNACK | ESTABLISHED | FIN4, "half-closed"),
        (SYNACK | ESTABLISHED | SUSPECT, "suspect"),
        (SYNACK | ESTABLISHED | FIN4 | FIN6 | CLOSED, "closed"),
    ],
)
def test_the_state_is_a_word(state: int, word: str) -> None:
    assert FlowView(slot(state), 0).state == word


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (SYNACK | FIN4 | FIN6, "closed"),
        (SYNACK | FIN4 | FIN6 | RST6, "closed"),
        (SYNACK | FIN4 | FIN6 | RST4, "closed"),
        (SYNACK | RST6 | FIN4, "client reset"),
        (SYNACK | RST4 | FIN4, "server reset"),
        (SYNACK | RST4, "server reset"),
        (RST4, "refused"),
    ],
)
def test_the_end_follows_from_the_packets(state: int, why: str) -> None:
    assert why_closed(state | CLOSED) == why
    assert why in END


def test_a_packet_of_this_very_instant_makes_no_negative_time() -> None:
    assert FlowView(slot(), 6 * SECOND).idle == 0
