from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from faith.flow.sweep import Sweep
from faith.flow.tcp_segment import ACK
from faith.kernel.flow.layout import CLIENT, CLOSED, FIN6, SERVER, SUSPECT, SYNACK, Side
from tests.flow.stand import Stand

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps

SECOND = 1_000_000_000
TRANS, EST = 240, 7440
NOW = time.monotonic_ns() + 100_000 * SECOND
"""A time that is later than anything, however long this machine has been up."""


def aged(stand: Stand, state: int, client: float, server: float) -> int:
    """A flow in that state, whose sides sent their last packets so many seconds ago."""
    port = 30000 + len(stand.reports.begun_)
    (number,) = stand.open(client=f"2001:db8:{port:x}::1")
    for side, ago in ((CLIENT, client), (SERVER, server)):
        stand.maps.arrived(number, side, Side(next=1, acked=1, last=int(NOW - ago * SECOND)))
    stand.maps.mark(number, state)
    stand.table.half_open.restore([(number, stand.maps.generation_of(number), 1)])
    stand.sent("raw_v4")
    return number


def swept(stand: Stand, sweep: Sweep | None = None) -> Sweep:
    found = sweep or Sweep(stand.table, stand.ends, stand.output)
    for _ in found.silent(NOW):
        continue
    for _ in found.half_open(NOW):
        continue
    return found


@pytest.mark.parametrize(
    ("state", "client", "server", "why"),
    [
        (0, 76, 1e4, "timeout"),
        (SYNACK | SUSPECT, TRANS + 1, TRANS + 2, "client reset"),
        (SYNACK | SUSPECT, TRANS + 2, TRANS + 1, "server reset"),
        (SYNACK | FIN6, EST + 1, EST + 1, "idle half-closed"),
        (SYNACK | FIN6 | CLOSED, TRANS + 1, TRANS + 1, "client reset"),
    ],
)
def test_what_is_silent_too_long_ends(
    maps: FlowMaps, state: int, client: float, server: float, why: str
) -> None:
    stand = Stand(maps)
    number = aged(stand, state, client, server)
    if state & CLOSED:  # the event of it was lost
        stand.maps.mark(number, 4)
    swept(stand)
    assert stand.reports.ends == [why]


@pytest.mark.parametrize(
    ("state", "client", "server"),
    [
        (0, 70, 1e4),
        (SYNACK | SUSPECT, TRANS + 1, TRANS - 5),
        (SYNACK | SUSPECT, TRANS - 5, TRANS + 1),
        (SYNACK | FIN6, TRANS + 1, TRANS + 1),
        (SYNACK | FIN6, EST + 1, EST - 5),
        (SYNACK, EST - 5, EST - 5),
        (SYNACK, 300, 300),
    ],
)
def test_what_is_not_silent_so_long_goes_on(
    maps: FlowMaps, state: int, client: float, server: float
) -> None:
    stand = Stand(maps)
    aged(stand, state, client, server)
    swept(stand)
    assert stand.reports.ends == []
    assert not stand.sent("raw_v6") + stand.sent("raw_v4")


def test_an_idle_client_is_asked_once_before_its_flow_ends(stand: Stand) -> None:
    number = aged(stand, SYNACK, EST + 1, EST + 1)
    sweep = swept(stand)
    (probe,) = stand.sent("raw_v6")
    assert struct.unpack_from("!IIBB", probe, 44) == (0, 0, 5 << 4, ACK)
    swept(stand, sweep)
    assert not stand.sent("raw_v6")
    assert stand.reports.ends == []
    ago = NOW - (EST + TRANS + 1) * SECOND
    for side in (CLIENT, SERVER):
        stand.maps.arrived(number, side, Side(next=1, acked=1, last=ago))
    swept(stand, sweep)
    assert stand.reports.ends == ["idle"]
    assert len(stand.sent("raw_v6")) == len(stand.sent("raw_v4")) == 1


def test_a_client_that_answers_is_asked_again_when_it_has_been_idle_again(stand: Stand) -> None:
    number = aged(stand, SYNACK, EST + 1, EST + 1)
    sweep = swept(stand)
    before = stand.maps.read(number).from_client
    stand.maps.arrived(number, CLIENT, before._replace(last=NOW))
    swept(stand, sweep)
    stand.maps.arrived(number, CLIENT, before)
    stand.sent("raw_v6")
    swept(stand, sweep)
    assert len(stand.sent("raw_v6")) == 1
    assert stand.reports.ends == []


def test_a_flow_that_was_idle_before_this_brain_began_is_asked_too(stand: Stand) -> None:
    aged(stand, SYNACK, 1e4, 1e4)
    sweep = swept(stand)
    assert stand.reports.ends == []
    swept(stand, sweep)
    assert stand.reports.ends == ["idle"]


@pytest.mark.parametrize(("lifetime", "ends"), [(0.0, []), (1e6, []), (1e-9, ["lifetime"] * 3)])
def test_a_flow_ends_with_its_lifetime(maps: FlowMaps, lifetime: float, ends: list[Any]) -> None:
    stand = Stand(maps, lifetime=lifetime)
    for number in stand.open(3):
        maps.mark(number, SYNACK)
        maps.arrived(number, CLIENT, Side(last=NOW))
    swept(stand)
    assert stand.reports.ends == ends


def test_a_sweep_takes_its_turns(large_maps: FlowMaps) -> None:
    """Hundreds of flows end in portions, between which others have their turn."""
    stand = Stand(large_maps, lifetime=1e-9)
    for n in range(20):
        for number in stand.open(30, client=f"2001:db8:{n}::1"):
            large_maps.arrived(number, CLIENT, Side(last=NOW))
    most, ended = 0, 0
    for _ in Sweep(stand.table, stand.ends, stand.output).silent(NOW):
        now = len(stand.reports.ends)
        most, ended = max(most, now - ended), now
    assert ended == 600
    assert most <= 256
