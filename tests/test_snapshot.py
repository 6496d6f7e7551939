"""What is shown from one reading to the next: the daemon's end, its return, and failures."""

from __future__ import annotations

from faith.cli.top.arrangement import Arrangement
from faith.cli.top.reading import SHARE, Reading
from faith.cli.top.snapshot import Snapshot
from faith.daemon.observe.status_report import Traffic
from tests.top_rows import daemon, session


def test_rates_are_summed() -> None:
    found = Snapshot()
    found.accept(Reading(100, 0, daemon(sessions=2), [session(seconds=10, sent=0)]))
    assert "2 open, sent 0/s" in found.summary({})
    found.accept(Reading(102, 0, daemon(sessions=2), [session(seconds=12, sent=4000)]))
    assert found.summary({}).splitlines() == [
        "faithd http, pid 4711, ready",
        "2 open, 0 new/s, sent 2.0k/s, received 0/s",
    ]
    assert "2 open, 0 new/s, 1 of port=80, sent" in found.summary({"port": 80})
    assert [row.sent_rate for row in found.arranged(Arrangement())] == [2000.0]


def test_new_connections_are_counted_by_the_daemon() -> None:
    found = Snapshot()
    for at, begun in ((100, 5), (102, 25), (104, 3), (106, 13)):
        found.accept(
            Reading(
                at,
                0,
                daemon(traffic=[Traffic("relay", begun=begun), Traffic("ping", begun=9 * at)]),
            )
        )
        found.new_rates = [*getattr(found, "new_rates", []), found.new_rate]  # type: ignore[attr-defined]
    assert found.new_rates == [None, 10.0, None, 5.0]  # type: ignore[attr-defined]


def test_a_daemon_that_ends_and_returns() -> None:
    found = Snapshot()
    found.accept(Reading(100, 0, None, [], "no faithd is running"))
    assert found.summary({}) == found.message() == "no faithd is running"
    found.accept(Reading(101, 0, daemon(), [session()]))
    assert found.message() == ""
    found.accept(Reading(102, 0, None, [], "no faithd is running"))
    assert found.summary({}).startswith("faithd http, pid 4711, ready, no answer")
    assert found.message() == "no faithd is running"
    assert found.rows == []
    found.accept(Reading(103, 0, daemon(pid=4712), [session()]))
    assert found.message() == "faithd was started again: pid 4711 is now pid 4712"
    assert "no answer" not in found.summary({})
    assert len(found.rows) == 1


def test_what_was_read_before_it_failed_is_shown() -> None:
    found = Snapshot()
    found.accept(Reading(100, 0, daemon(), [session()], "1 workers do not answer"))
    assert found.message() == "1 workers do not answer"
    assert len(found.rows) == 1


def test_what_takes_long_is_done_less_often() -> None:
    assert Reading(0, 0.01).pause(2) == 1.99
    assert Reading(0, 1.0).pause(2) == SHARE
    assert Reading(0, 9.0).pause(2) == 9 * SHARE
    assert Reading(0, 9.0, error="worker 2 does not answer").pause(2) == 2
