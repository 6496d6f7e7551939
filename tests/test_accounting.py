"""The numbers of a relay's sessions, and who has a seat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.relay.tcp import accounting as accounting_module
from faith.relay.tcp.accounting import Accounting, Movement
from faith.relay.tcp.admission import Admission, Limits, Tables
from faith.relay.tcp.relay_counters import LAYOUT, PROXY_SESSIONS, Counters

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "2001:db8::1"


def session(parent: Any = None, method: str = "") -> Any:
    return SimpleNamespace(
        client_host=CLIENT,
        started=0.0,
        seat=None,
        parent=parent,
        end="closed",
        counted=(0, 0),
        moved=(3, 4),
        method=method,
    )


@pytest.fixture
def tables() -> Iterator[Tables]:
    made = Tables(1)
    made.enter(0)
    yield made
    made.enter(None)


def accounting(tables: Tables, most: int) -> Accounting:
    return Accounting(Counters(), Admission(Limits(sessions_per_client=most), tables, 0))


def test_sessions_are_counted_wherever_they_come_from_and_go(tables: Tables) -> None:
    kept = accounting(tables, 0)
    first, second = session(), session()
    kept.begun(first)
    kept.adopted(second)
    assert kept.open_sessions == kept.counters.open == 2
    kept.handed_over(first)
    kept.ended(second)
    assert kept.open_sessions == kept.counters.open == 0


def test_sessions_of_proxies_are_counted_besides(tables: Tables) -> None:
    cells = [0] * LAYOUT.size
    kept = Accounting(Counters(cells), Admission(Limits(), tables, 0))
    is_open = LAYOUT.start(PROXY_SESSIONS)
    first, second, third = (session(method="socks5") for _ in range(3))
    kept.begun(first)
    kept.adopted(second)
    kept.begun(third)
    kept.begun(session())
    assert cells[is_open] == 3
    fourth = session(method="http")
    kept.replaced(third, fourth)
    assert cells[is_open] == 3
    kept.ended(first)
    kept.handed_over(second)
    kept.left(fourth)
    assert cells[is_open] == 0


def test_a_client_has_its_seats_until_its_sessions_end_or_go(tables: Tables) -> None:
    kept = accounting(tables, 2)
    first, second = session(), session()
    kept.begun(first)
    assert kept.excess(CLIENT, 1.0) is None
    kept.adopted(second)
    assert kept.excess(CLIENT, 1.0) == "too many sessions of the client"
    kept.ended(first)
    kept.handed_over(second)
    assert kept.excess(CLIENT, 1.0) is None
    assert first.seat is second.seat is None


def test_a_data_connection_takes_no_seat(tables: Tables) -> None:
    kept = accounting(tables, 1)
    data = session(parent=session())
    kept.begun(data)
    assert data.seat is None
    assert kept.excess(CLIENT, 1.0) is None
    kept.ended(data)


def test_sessions_that_are_there_count_when_a_limit_comes(tables: Tables) -> None:
    kept = accounting(tables, 0)
    there = session()
    kept.begun(there)
    assert there.seat is None
    kept.limit(Limits(sessions_per_client=1), [there])
    assert kept.excess(CLIENT, 1.0) == "too many sessions of the client"
    kept.limit(Limits(), [there])
    assert kept.excess(CLIENT, 1.0) is None
    kept.ended(there)


def test_without_admission_nobody_is_refused() -> None:
    kept = Accounting(Counters())
    kept.limit(Limits(sessions_per_client=1), [])
    assert kept.excess(CLIENT, 1.0) is None


def test_octets_of_open_sessions_are_counted_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting_module, "SLICE", 2)
    there = [session() for _ in range(3)]
    counted: list[Any] = []
    movement = Movement(lambda: list(there), counted.append)
    movement.count()
    assert counted == there[:2]
    movement.count()
    movement.count()
    assert counted == [*there, *there[:2]]
    there.clear()
    movement.count()
    movement.count()
    assert len(counted) == 6
