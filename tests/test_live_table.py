"""The table without keys: as many rows as there is room for."""

from __future__ import annotations

from typing import Any

import pytest

from faith.cli.top import live_table
from faith.cli.top.arrangement import Arrangement
from faith.cli.top.reading import Reading
from faith.cli.top.snapshot import Snapshot
from faith.errors import FaithError
from tests.top_rows import daemon, session

SESSIONS = [session(f"1-{number}", sent=number) for number in range(50)]


def shown(height: int, error: str = "") -> list[str]:
    snapshot = Snapshot()
    snapshot.accept(Reading(100, 0, daemon(sessions=50), SESSIONS, error))
    return list(live_table.lines(snapshot, {}, Arrangement("sent"), 160, height))


@pytest.mark.parametrize("height", range(1, 70))
@pytest.mark.parametrize("error", ["", "1 workers do not answer"])
def test_there_are_never_more_lines_than_fit_and_none_is_missing_unsaid(
    height: int, error: str
) -> None:
    lines = shown(height, error)
    assert len(lines) <= max(height, 5)
    rows = [line for line in lines if line.startswith("[2001:")]
    if len(rows) < 50:
        assert lines[-1] == f"... {50 - len(rows)} more"


def test_the_first_come_first() -> None:
    assert "1-49" in next(line for line in shown(20) if line.startswith("[2001:"))


class Readings:
    """Gives what was prepared."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = list(readings)

    def read(self, wanted: dict[str, Any]) -> Reading:
        return self._readings.pop(0)


def test_once_has_rates_of_two_readings() -> None:
    readings: Any = Readings(
        Reading(100, 0, daemon(), [session(seconds=1, sent=0)]),
        Reading(101, 0, daemon(), [session(seconds=2, sent=500)]),
    )
    (row,) = live_table.once(readings, {}, 0.0).rows
    assert row.sent_rate == 500


def test_once_fails_where_anything_is_missing() -> None:
    readings: Any = Readings(Reading(100, 0, daemon(), [], "1 workers do not answer"))
    with pytest.raises(FaithError, match="do not answer"):
        live_table.once(readings, {}, 0.0)
