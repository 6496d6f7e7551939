"""What a relay counts."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.relay.tcp.relay_counters import (
    BYTES,
    DIAL,
    LAYOUT,
    OPEN,
    PROXY_REQUESTS,
    REFUSALS,
    SESSIONS,
    Counters,
)
from faith.translation.reasons import DENIED, LOST, NO_NAME, OTHER

if TYPE_CHECKING:
    from faith.kernel.shared.families import Family


class Counted(Counters):
    """Counters whose numbers can be asked for by name."""

    def __init__(self) -> None:
        self.cells = [0] * LAYOUT.size
        super().__init__(self.cells)

    def __getitem__(self, family: Family) -> dict[str, int]:
        numbers = LAYOUT.of(family, self.cells)
        return {name: n for name, n in zip(family.values, numbers, strict=True) if n}


def session(end: str = "", sent: int = 0, received: int = 0) -> Any:
    return SimpleNamespace(end=end, moved=(sent, received), counted=(0, 0))


def test_a_session_is_open_until_it_has_ended() -> None:
    counted = Counted()
    counted.opened()
    counted.opened()
    assert counted.open == 2
    counted.ended(session("closed", 3, 4))
    assert counted[OPEN] == {"": 1}
    assert counted[SESSIONS] == {"closed": 1}
    assert counted[BYTES] == {"server": 3, "client": 4}


def test_bytes_of_a_long_session_are_counted_once() -> None:
    counted = Counted()
    one = session("idle", 10, 20)
    counted.moved(one)
    assert counted[BYTES] == {"server": 10, "client": 20}
    one.moved = 15, 20
    counted.ended(one)
    assert counted[BYTES] == {"server": 15, "client": 20}


def test_rare_ends_share_a_number() -> None:
    counted = Counted()
    for end in ("server no route to host", "server network is down", "something new"):
        counted.ended(session(end))
    assert counted[SESSIONS] == {"server failed": 2, OTHER: 1}


def test_refusals_are_told_apart_by_reason_and_not_by_detail() -> None:
    counted = Counted()
    for why in (DENIED, "shed: out of resources", "no source: no such device", "no idea"):
        counted.refused(why)
    assert counted[REFUSALS] == {DENIED: 1, "shed": 1, "no source": 1, OTHER: 1}


def test_dials_have_a_histogram() -> None:
    counted = Counted()
    counted.dialled(0.003)
    assert LAYOUT.of(DIAL, counted.cells)[2] == 1
    assert LAYOUT.of(DIAL, counted.cells)[-1] == 3000


def test_the_sessions_of_a_dead_worker_are_accounted_for() -> None:
    counted = Counted()
    counted.opened()
    counted.opened()
    counted.lost()
    assert counted.open == 0
    assert counted[SESSIONS] == {LOST: 2}


def test_what_a_dead_worker_has_written_stops_nobody() -> None:
    """Its cells are an attacker's."""
    cells = [0] * LAYOUT.size
    cells[LAYOUT.start(OPEN)] = (1 << 63) - 1
    counters = Counters(memoryview(array("q", cells)))
    for _ in range(2):
        counters.lost()
        counters._cells[LAYOUT.start(OPEN)] = (1 << 63) - 1
    assert counters._cells[LAYOUT.cells(SESSIONS)[LOST]] == (1 << 63) - 1


def test_the_requests_of_clients_of_proxies() -> None:
    counted = Counted()
    for method in ("socks5", "http", "socks5"):
        counted.proxy_request(method)
    assert counted[PROXY_REQUESTS] == {"socks5": 2, "http": 1}


def test_a_client_of_a_proxy_that_has_had_its_answers() -> None:
    counted = Counted()
    counted.opened()
    counted.refused(NO_NAME)
    counted.left()
    assert not counted[OPEN]
    assert counted[REFUSALS] == {NO_NAME: 1}
    assert not counted[SESSIONS]
