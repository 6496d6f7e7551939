"""Shares of one worker's sessions: who gets in, who is refused, and who makes room."""

from __future__ import annotations

import os
import resource
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.relay.tcp import session_shares
from faith.relay.tcp.accounting import Accounting
from faith.relay.tcp.admission import Admission, Limits, Tables
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.session_shares import SessionShares, places
from faith.translation.reasons import CLIENT, CLIENT_SHARE

if TYPE_CHECKING:
    import pytest

GREEDY, OTHER = "2001:db8:1::1", "2001:db8:2::1"
FULL = "shed: no place for another session"


class House:
    """The sessions of a relay with so many places; those of *dialling* clients can be displaced."""

    def __init__(self, limit: int, length: int = 64) -> None:
        self.dialling: list[Any] = []
        self.shares = SessionShares(limit, length)
        self.accounting = Accounting(Counters(), None, self.shares, self._displace)

    def _displace(self, host: str) -> bool:
        session = self.shares.displaceable(host, self.dialling)
        if session is None:
            return False
        self.dialling.remove(session)
        session.end = "displaced"
        self.accounting.ended(session)
        return True

    def come(self, host: str, *, dials: bool = False) -> str | None:
        """Have a client come; return why it is refused, or None."""
        why = self.accounting.excess(host, 1.0)
        if why is None:
            session: Any = SimpleNamespace(
                client_host=host,
                method=None,
                seat=None,
                parent=None,
                end="closed",
                counted=(0, 0),
                moved=(0, 0),
            )
            self.accounting.begun(session)
            if dials:
                self.dialling.append(session)
        return why

    def fill(self, host: str, most: int = 100, *, dials: bool = False) -> int:
        """Have a client come until it is refused, or so often; return how often it got in."""
        return sum(self.come(host, dials=dials) is None for _ in range(most))


def test_one_client_gets_half_and_what_it_left_is_there_for_others() -> None:
    house = House(40)
    assert house.fill(GREEDY) == 20
    assert house.come(GREEDY) == CLIENT_SHARE
    assert house.come("2001:db8:1::2") == CLIENT_SHARE, "another address of the same host"
    assert house.fill(OTHER) == 10
    assert house.fill("192.0.2.1") == 5
    assert house.fill("192.0.2.2") == 3, "every IPv4 address is a client"


def test_the_length_of_a_prefix_can_change() -> None:
    house = House(40, 128)
    assert house.fill(GREEDY) == 20
    assert house.fill("2001:db8:1::2") == 10
    house.shares.count_by(32)
    assert house.fill("2001:db8:9::1") == 5, "what was there counts as it did"


SIZES = 32, 16, 8, 4, 2, 1, 1
"""Sessions of seven clients, each of which has as many as it could get after those before."""


def crowded(*, dials: bool) -> House:
    """A full table; the sessions of the client that has most are dialling, if wanted."""
    house = House(sum(SIZES))
    for number, size in enumerate(SIZES):
        assert house.fill(f"2001:db8:{number:x}::1", size, dials=dials and not number) == size
    return house


def test_a_full_table_has_the_oldest_dial_of_the_greediest_make_room() -> None:
    house = crowded(dials=True)
    oldest = house.dialling[0]
    assert house.come("2001:db8:ff::1") is None
    assert oldest.end == "displaced"
    assert len(house.shares) == sum(SIZES)
    assert house.come("2001:db8:0::1") == CLIENT_SHARE, "it has more than an equal share"
    assert house.fill("2001:db8:ff::1") == 7, "64 places among 8 clients are 8 each"


def test_who_is_beyond_a_limit_displaces_nobody() -> None:
    tables = Tables(1)
    house = crowded(dials=True)
    limits = Admission(Limits(sessions_per_client=1), tables, 0)
    accounting = Accounting(Counters(), limits, house.shares, house._displace)
    limits.keep("2001:db8:ff::1")
    assert accounting.excess("2001:db8:ff::1", 1.0) == CLIENT
    assert len(house.dialling) == SIZES[0]
    assert accounting.excess("2001:db8:fe::1", 1.0) is None
    assert len(house.dialling) == SIZES[0] - 1


def test_established_sessions_are_not_displaced() -> None:
    house = crowded(dials=False)
    assert house.come("2001:db8:ff::1") == FULL
    assert house.accounting.counters.open == sum(SIZES)


def test_addresses_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_shares, "REMEMBERED", 2)
    shares = SessionShares()
    for number in range(5):
        assert shares.client(f"2001:db8:{number}::1") == 0x20010DB800000000 + (number << 16)
        assert len(shares._clients) <= 2


def test_places_follow_from_the_limit_of_descriptors() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 512
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        assert places(8) == max(most - session_shares.KEPT - 8, most // 2) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
