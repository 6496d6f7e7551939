"""Limits of sessions, for all workers together."""

from __future__ import annotations

import os
from typing import Any

import pytest

from faith.errors import ConfigError
from faith.relay.tcp.admission import NO_LIMITS, REMEMBERED, Admission, Limits, Tables
from faith.translation.reasons import CLIENT, CLIENT_RATE, PREFIX, TOTAL, TOTAL_RATE

NOW = 50.0


def workers(count: int = 2, **limits: Any) -> list[Admission]:
    tables = Tables(count)
    return [Admission(Limits(**limits), tables, place) for place in range(count)]


def fill(admissions: list[Admission], client: str, most: int = 1000, now: float = NOW) -> int:
    """How many sessions *client* gets, of each worker by turns."""
    for number in range(most):
        admission = admissions[number % len(admissions)]
        if admission.refuses(client, now):
            return number
        admission.take(client, now)
    return most


def test_an_address_has_so_many_in_all_workers() -> None:
    admissions = workers(sessions_per_client=7)
    assert fill(admissions, "2001:db8::1") == 7
    assert [admission.refuses("2001:db8::1", NOW) for admission in admissions] == [CLIENT] * 2
    assert fill(admissions, "2001:db8::2") == 7, "another address of the same network"


def test_a_prefix_has_so_many_whatever_the_addresses() -> None:
    admissions = workers(sessions_per_prefix=5)
    for number in range(5):
        assert fill(admissions, f"2001:db8::{number + 1}", most=1) == 1
    assert admissions[0].refuses("2001:db8::ffff:1", NOW) == PREFIX
    assert admissions[0].refuses("2001:db8:0:1::1", NOW) is None


def test_an_ipv4_address_is_a_client_and_a_prefix_of_its_own() -> None:
    admissions = workers(sessions_per_client=7, sessions_per_prefix=5)
    assert fill(admissions, "192.0.2.80") == 5
    assert fill(admissions, "192.0.2.81") == 5
    assert admissions[0].refuses("192.0.2.80", NOW) == PREFIX
    assert admissions[0].refuses("2001:db8::1", NOW) is None


def test_the_prefix_has_the_length_that_was_chosen() -> None:
    (admission,) = workers(1, sessions_per_prefix=1, prefix_length=56)
    admission.take("2001:db8:0:aa00::1", NOW)
    assert admission.refuses("2001:db8:0:aaff::1", NOW) == PREFIX
    assert admission.refuses("2001:db8:0:ab00::1", NOW) is None


def test_the_whole_daemon_has_so_many_to_the_last_one() -> None:
    admissions = workers(sessions=100)
    for number in range(100):
        assert fill(admissions, f"2001:db8:{number:x}::1", most=1) == 1
    assert admissions[1].refuses("2001:db8:ffff::1", NOW) == TOTAL


def test_who_leaves_makes_room() -> None:
    one, other = workers(sessions_per_client=1)
    seat = one.take("fe80::1%eth0", NOW)
    assert other.refuses("fe80::1%eth0", NOW) == CLIENT
    one.leave(seat)
    assert other.refuses("fe80::1%eth0", NOW) is None


def test_new_sessions_have_a_rate_and_a_burst() -> None:
    admissions = workers(rate_per_client=2, burst=3)
    assert fill(admissions, "2001:db8::1") == 6
    assert admissions[0].refuses("2001:db8::1", NOW) == CLIENT_RATE
    assert fill(admissions, "2001:db8::1", now=NOW + 0.6) == 1
    assert fill(admissions, "2001:db8::1", now=NOW + 100) == 6


def test_what_was_refused_does_not_count() -> None:
    (admission,) = workers(1, rate=1, burst=2)
    assert fill([admission], "2001:db8::1") == 2
    for _ in range(1000):
        assert admission.refuses("2001:db8::2", NOW) == TOTAL_RATE
    assert admission.refuses("2001:db8::2", NOW + 2) is None


def test_the_tables_of_a_dead_worker_are_cleared() -> None:
    tables = Tables(2)
    admission = Admission(Limits(sessions_per_client=1), tables, 0)
    pid = os.fork()
    if not pid:
        Admission(Limits(sessions_per_client=1), tables, 1).take("2001:db8::1", NOW)
        os._exit(0)
    os.waitpid(pid, 0)
    assert admission.refuses("2001:db8::1", NOW) == CLIENT
    tables.clear(1)
    assert admission.refuses("2001:db8::1", NOW) is None


def test_a_flood_of_addresses_takes_no_more_memory() -> None:
    (admission,) = workers(1, sessions_per_client=1)
    for number in range(3 * REMEMBERED):
        admission.seat(f"2001:db8::{number:x}")
    assert len(admission._seats) <= REMEMBERED


def test_a_rate_that_lets_nobody_in_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.1 new sessions a second are none in a burst of 5 s"):
        Limits(rate_per_client=0.1)


@pytest.mark.parametrize("limits", [{"sessions": -1}, {"rate": 1e30}, {"prefix_length": 129}])
def test_numbers_have_bounds(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=" from "):
        Limits(**limits)


@pytest.mark.parametrize(
    ("limits", "some"), [({}, False), ({"rate": 1}, True), ({"burst": 9}, False)]
)
def test_limits_are_true_when_there_are_some(limits: dict[str, Any], some: bool) -> None:
    assert bool(Limits(**limits)) is some
    assert not NO_LIMITS
