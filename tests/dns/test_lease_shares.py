"""Shares of a pool, on a pool of eight addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from faith.dns.lease_shares import LeaseShares
from faith.dns.pool import GRACE, Pool

SECONDS = 100
SERVER = int(ip_address("2001:db8::"))


class Lent:
    """A pool of eight addresses, of which clients get as many as they are admitted to."""

    def __init__(self, before: int = 0) -> None:
        self.pool = Pool([(int(ip_address("192.0.2.0")), 29)])
        self.size = len(self.pool)
        for number in range(before):
            self.pool.lend(SERVER + 0x1000 + number, SECONDS, 0)
        self.shares = LeaseShares(self.pool)

    def lend(self, client: str | None, server: int, now: float = 0) -> bool:
        """Lend an address for the server of that number, if *client* may have it."""
        v6 = SERVER + server
        if not self.shares.admits(client, v6, now):
            return False
        lease = self.pool.lend(v6, SECONDS, now)
        if lease:
            self.shares.lent(client, lease)
        return lease is not None

    def lend_all(self, client: str, first: int, now: float = 0) -> int:
        """How many servers from the *first* on *client* gets addresses for."""
        return sum(self.lend(client, server, now) for server in range(first, first + 20))


@pytest.fixture
def lent() -> Lent:
    return Lent()


def test_one_client_gets_no_more_than_half(lent: Lent) -> None:
    assert lent.lend_all("one", 0) == lent.size // 2
    assert lent.lend("two", 100)
    assert lent.lend("three", 101)


def test_an_address_that_a_server_has_is_for_everybody(lent: Lent) -> None:
    held = lent.lend_all("one", 0)
    for server in range(held):
        assert lent.lend("one", server)
        assert lent.lend("two", server)
    assert lent.lend_all("two", 100) > 0


def test_a_lease_that_ended_gives_its_place_back(lent: Lent) -> None:
    held = lent.lend_all("one", 0)
    later = SECONDS + GRACE - 1
    assert not lent.lend("one", 50, later)
    assert lent.lend_all("one", 50, later + 2) == held


def test_one_that_was_made_longer_meanwhile_does_not(lent: Lent) -> None:
    held = lent.lend_all("one", 0)
    for server in range(held):
        assert lent.lend("two", server, SECONDS)
    assert not lent.lend("one", 50, SECONDS + GRACE + 1)


def test_leases_of_before_are_nobodys() -> None:
    lent = Lent(before=3)
    assert 0 < lent.lend_all("one", 0) <= (lent.size - 3 + 1) // 2
    assert lent.lend("two", 100)


def test_nobody_in_particular_gets_what_there_is(lent: Lent) -> None:
    assert all(lent.lend(None, server) for server in range(lent.size))
    assert lent.shares.admits("one", SERVER + 100, 0), "it is for the pool to say so"
    assert not lent.lend("one", 100)


def test_the_fill_is_of_leases_that_last(lent: Lent) -> None:
    assert lent.shares.fill(0) == (0, lent.size)
    held = lent.lend_all("one", 0)
    assert lent.shares.fill(0) == (held, lent.size)
    assert lent.shares.fill(SECONDS + GRACE + 1) == (0, lent.size), "although nobody asks any more"
