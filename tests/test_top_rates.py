"""Rates of sessions from two readings, while sessions come, go and change their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.cli.top.rates import Rates
from tests.top_rows import session

OCTETS = st.integers(0, 2**50)


def rates(found: Rates, *sessions: object, now: float) -> list[tuple[float | None, float | None]]:
    rows = found.rows(sessions, now)  # type: ignore[arg-type]
    return [(row.sent_rate, row.received_rate) for row in rows]


def test_the_first_reading_has_none() -> None:
    assert rates(Rates(), session(sent=7), now=100) == [(None, None)]


def test_the_age_of_the_session_is_the_clock() -> None:
    found = Rates()
    rates(found, session(seconds=10, sent=100, received=1000), now=100)
    told = rates(found, session(seconds=12.5, sent=150, received=6000), now=103)
    assert told == [(20.0, 2000.0)]


def test_one_that_has_begun_since_has_the_rate_of_its_life() -> None:
    found = Rates()
    rates(found, now=100)
    assert rates(found, session(seconds=1.0, sent=50), now=102) == [(50.0, 0.0)]


def test_one_that_was_not_listed_before_has_none() -> None:
    """A filter has been taken away, or a worker has not answered the last time."""
    found = Rates()
    rates(found, now=100)
    assert rates(found, session(seconds=60, sent=50), now=102) == [(None, None)]


@pytest.mark.parametrize(
    "other",
    [
        session(client="[2001:db8:6::2]:9999", seconds=60, sent=1000),
        session(seconds=9.0, sent=1000),
        session(seconds=60, sent=1),
        session(seconds=60, sent=1000, received=1),
        session(seconds=10.0, sent=1000),
    ],
    ids=["another client", "younger", "less sent", "less received", "no time has passed"],
)
def test_another_session_of_the_same_name_has_none(other: object) -> None:
    """A new worker counts from the beginning."""
    found = Rates()
    rates(found, session(seconds=10, sent=100, received=100), now=100)
    assert rates(found, other, now=102) == [(None, None)]


@given(
    st.lists(st.tuples(OCTETS, OCTETS, st.floats(0, 1e6)), max_size=4),
    st.lists(st.tuples(OCTETS, OCTETS, st.floats(0, 1e6)), max_size=4),
    st.floats(0, 100),
)
def test_no_rate_is_negative_and_rows_are_as_listed(
    before: list[tuple[int, int, float]], after: list[tuple[int, int, float]], later: float
) -> None:
    found = Rates()
    for now, listed in ((10.0, before), (10.0 + later, after)):
        sessions = [
            session(f"1-{number}", sent=sent, received=received, seconds=seconds)
            for number, (sent, received, seconds) in enumerate(listed)
        ]
        rows = found.rows(sessions, now)
        assert [(row.id, row.sent, row.received) for row in rows] == [
            (one.id, one.sent, one.received) for one in sessions
        ]
        for row in rows:
            assert (row.sent_rate is None) == (row.received_rate is None)
            assert row.sent_rate is None or row.sent_rate >= 0
            assert row.received_rate is None or row.received_rate >= 0
