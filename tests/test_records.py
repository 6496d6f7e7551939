"""Which records are written."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.daemon.observe.message_ids import LEFT_OUT
from faith.daemon.observe.records import Recording, Records
from faith.relay.tcp.record import UDP, Record
from faith.translation.reasons import CLOSED, DENIED, EXPIRED
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


def test_details_are_no_reason_of_their_own() -> None:
    told, written, _ = records(refusals=4)
    for octet in range(100):
        told(ended(f"bad request: the first octet is 0x{octet:02x}", None))
    assert len(written) == 2, "half of them for one client"


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


def of(client: str, end: str, server: Endpoint | None = None) -> Record:
    return Record((client, 40000), MAPPED, end, 0.0, server and SOURCE, server)


def test_a_flood_of_refusals_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    told, written, clock = records(refusals=6)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            told(ended("too many sessions", None))
        told(ended("denied by a rule", None))
        assert len(written) == 4
        clock.turn(1)
        (summary,) = caplog.records
        assert summary.getMessage() == (
            "997 more connections of 2001:db8:6::2 were refused: too many sessions"
        )
        assert vars(summary)["event"] == LEFT_OUT
        told(ended("too many sessions", None))
        assert len(written) == 5
        clock.turn(1)
    assert len(caplog.records) == 1, "nothing was left out in that second"


def test_a_client_does_not_hide_the_refusals_of_others(caplog: pytest.LogCaptureFixture) -> None:
    told, written, clock = records(refusals=6)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            told(ended("no rule permits it", None))
        told(of("2001:db8:6::3", "no rule permits it"))
        assert [record.client[0] for record in written] == [*[CLIENT[0]] * 3, "2001:db8:6::3"]
        for number in range(100):
            told(of(f"2001:db8:7::{number:x}", "no rule permits it"))
        assert len(written) == 6, "there is a limit for all together"
        clock.turn(1)
    assert [record.getMessage() for record in caplog.records] == [
        "97 more connections of 2001:db8:6::2 were refused: no rule permits it",
        "1 more connections of 2001:db8:7::2 were refused: no rule permits it",
        "1 more connections of 2001:db8:7::3 were refused: no rule permits it",
        "96 more connections of 96 other clients were refused: no rule permits it",
    ]


def test_clients_beyond_count_are_added_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faith.daemon.observe.records._MOST_CLIENTS", 1)
    told, _, clock = records(refusals=1)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            told(of(f"2001:db8:7::{number:x}", "denied by a rule"))
        clock.turn(1)
    assert [record.getMessage() for record in caplog.records] == [
        "1 more connections of 2001:db8:7::1 were refused: denied by a rule",
        "8 more connections of 1 other clients were refused: denied by a rule",
    ]


def test_failed_dials_are_limited_and_other_ends_never(caplog: pytest.LogCaptureFixture) -> None:
    told, written, clock = records(refusals=20)
    with caplog.at_level(logging.WARNING):
        for _ in range(400):
            told(ended("refused"))
        assert len(written) == 10
        for end in (*[CLOSED] * 400, *["client reset"] * 400):
            told(ended(end))
        assert len(written) == 810
        clock.turn(1)
    assert [record.getMessage() for record in caplog.records] == [
        "390 more sessions of 2001:db8:6::2 ended: refused"
    ]


def test_refused_datagrams_are_called_datagrams(caplog: pytest.LogCaptureFixture) -> None:
    told, written, clock = records(refusals=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            told(Record(CLIENT, MAPPED, "too many flows", 0.0, protocol=UDP))
        clock.turn(1)
    assert len(written) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "4 more datagrams of 2001:db8:6::2 were refused: too many flows"
    ]


def test_starts_are_recorded_when_asked_for() -> None:
    told, written, clock = records(destinations=False)
    session: Any = SimpleNamespace(start_record=lambda now: ended(""))
    told.begun(session)
    told.start(ended(""))
    assert not written
    told.recording = Recording(starts=True, destinations=False, sample=1000)
    told.begun(session)
    told.start(ended(""))
    assert len(written) == 2
    assert all(record.discreet for record in written)
    assert not clock.timers


def test_all_refusals_are_written_where_that_is_wanted() -> None:
    told, written, clock = records(refusals=0)
    for _ in range(1000):
        told(ended("too many sessions", None))
    assert len(written) == 1000
    assert not clock.timers


def test_udp_has_records_of_its_own_choice() -> None:
    told, written, _ = records()
    start = Record(CLIENT, MAPPED, "", 0.0, SOURCE, SERVER, protocol=UDP)
    end = Record(CLIENT, MAPPED, EXPIRED, 0.0, SOURCE, SERVER, protocol=UDP)
    refused = Record(CLIENT, MAPPED, DENIED, 0.0, protocol=UDP)
    for record in start, end, refused:
        told(record)
    assert written == [end, refused], "starts have records where that is wanted"
    told.recording = Recording(starts=True)
    told(start)
    assert written.pop() is start
    told.recording = Recording(starts=True, flows=False)
    for record in start, end, refused:
        told(record)
    assert written == [end, refused, refused]
