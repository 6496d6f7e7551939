"""Which records are written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from faith.daemon.observe.records import Recording, Records
from faith.relay.tcp.record import Record
from faith.translation.reasons import CLOSED
from tests.test_timeouts import Clock

if TYPE_CHECKING:
    import pytest

    from faith.relay.tcp.record import Endpoint

CLIENT = "2001:db8:6::2", 40000
MAPPED = "2001:db8:ffff::c000:250", 23
SOURCE, SERVER = ("192.0.2.1", 50000), ("192.0.2.80", 23)


def records(**recording: Any) -> tuple[Records, list[Record], Any]:
    written: list[Record] = []
    clock: Any = Clock()
    return Records(clock, Recording(**recording), written.append), written, clock


def ended(end: str, server: Endpoint | None = SERVER) -> Record:
    return Record(CLIENT, MAPPED, end, 0.0, server and SOURCE, server)


def test_everything_is_written_unless_told_otherwise() -> None:
    told, written, _ = records()
    for end in (CLOSED, "client reset", CLOSED):
        told(ended(end))
    assert len(written) == 3


def test_a_sample_is_of_the_good_ones_only() -> None:
    told, written, _ = records(sample=10)
    for _ in range(100):
        told(ended(CLOSED))
    assert len(written) == 10
    told(ended("timeout"))
    told(ended("denied by a rule", None))
    assert [record.end for record in written[10:]] == ["timeout", "denied by a rule"]


def test_without_destinations_nobody_can_tell_where_it_went() -> None:
    told, written, _ = records(destinations=False)
    told(ended(CLOSED))
    (record,) = written
    text = f"{record.text()} {record.fields()}"
    assert MAPPED[0] not in text
    assert SERVER[0] not in text
    assert record.text().startswith(
        "client=[2001:db8:6::2]:40000 source=192.0.2.1:50000 sent=0 received=0 started="
    )


def test_a_flood_of_refusals_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    told, written, clock = records(refusals=3)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            told(ended("too many sessions", None))
        told(ended("denied by a rule", None))
        assert len(written) == 4
        clock.turn(1)
        assert [record.getMessage() for record in caplog.records] == [
            "997 more connections were refused: too many sessions"
        ]
        told(ended("too many sessions", None))
        assert len(written) == 5
        clock.turn(1)
    assert len(caplog.records) == 1, "nothing was left out in that second"


def test_all_refusals_are_written_where_that_is_wanted() -> None:
    told, written, clock = records(refusals=0)
    for _ in range(1000):
        told(ended("too many sessions", None))
    assert len(written) == 1000
    assert not clock.timers
