"""Shares of a table: by simulation, with crowds of one client and of many."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faith.translation.shares import Place, Shares, client

LIMIT = 120


def crowd(shares: Shares, name: str, count: int = LIMIT, now: float = 0) -> list[Place]:
    """*name* comes so often; the places it gets."""
    return [shares.enter(name, name, now) for _ in range(count) if shares.admits(name)]


@given(st.lists(st.sampled_from("abcdef"), max_size=2 * LIMIT))
def test_below_half_whoever_comes_gets_in(names: list[str]) -> None:
    shares = Shares(LIMIT)
    for name in names[: LIMIT // 2]:
        assert shares.admits(name)
        shares.enter(name, name, 0)


@pytest.mark.parametrize("crowds", [1, 2, 3, 5, 11])
def test_what_crowds_leave_is_as_much_as_each_of_them_has(crowds: int) -> None:
    """Coming at once, in turns."""
    shares = Shares(LIMIT)
    for _ in range(LIMIT):
        for number in range(crowds):
            crowd(shares, f"crowd {number}", 1)
    fair = LIMIT // (crowds + 1)
    assert LIMIT - len(shares) == pytest.approx(fair, abs=1)
    for number in range(crowds):
        assert shares.held(f"crowd {number}") == pytest.approx(fair, abs=1)
    assert len(crowd(shares, "stranger", 2)) == 2


def test_a_crowd_that_was_there_first_makes_room_only_as_it_leaves() -> None:
    shares = Shares(LIMIT)
    first = crowd(shares, "first")
    assert len(first) == LIMIT // 2
    assert len(crowd(shares, "second")) == LIMIT // 4
    assert not shares.admits("first")
    for place in first:
        shares.leave(place)
    assert shares.admits("first")
    assert len(crowd(shares, "second")) > 0


def test_a_place_is_its_holders_and_who_has_left_is_forgotten() -> None:
    shares = Shares(LIMIT)
    place = shares.enter("client", "holder", 7)
    assert (place.client, place.holder, place.since) == ("client", "holder", 7)
    shares.leave(place)
    assert (len(shares), shares._held, shares._spare) == (0, {}, {})


def test_a_full_table_has_no_place_for_anybody() -> None:
    shares = Shares(2)
    crowd(shares, "one")
    crowd(shares, "two")
    assert len(shares) == 2
    assert not shares.admits("three")


class TestDisplacing:
    def test_the_oldest_gives_way_when_it_is_old_enough(self) -> None:
        shares = Shares(LIMIT, patience=2)
        places = [shares.enter("crowd", f"{n}", n) for n in range(LIMIT // 2)]
        assert not shares.admits("crowd")
        spare = [place for place in places if place.is_spare]
        assert shares.displaceable("crowd", spare[0].since + 1.9) is None
        assert shares.displaceable("crowd", spare[0].since + 2) is spare[0]
        shares.use(spare[0], 100)
        assert shares.displaceable("crowd", 100) is spare[1]
        assert shares.displaceable("stranger", 100) is None

    def test_half_a_share_never_does(self) -> None:
        """However many come after it: what is slow is done with at last."""
        shares = Shares(LIMIT, patience=1)
        first = crowd(shares, "crowd", now=0)
        kept = {place for place in first if not place.is_spare}
        assert LIMIT // 4 <= len(kept) <= LIMIT // 2
        displaced = set()
        for now in range(1, 10 * LIMIT):
            if found := shares.displaceable("crowd", now):
                displaced.add(found)
                shares.leave(found)
                shares.enter("crowd", "crowd", now)
        assert len(displaced) > LIMIT
        assert not kept & displaced

    def test_nobody_does_where_there_is_no_patience_to_lose(self) -> None:
        shares = Shares(LIMIT)
        crowd(shares, "crowd")
        assert shares.displaceable("crowd", 1e9) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_an_ipv6_client_is_a_64_and_an_ipv4_client_an_address(
    one: str, other: str, same: bool
) -> None:
    assert (client(int(ip_address(one))) == client(int(ip_address(other)))) is same


def test_the_length_can_be_another() -> None:
    assert client(int(ip_address("2001:db8:0:1::")), 56) == client(
        int(ip_address("2001:db8::")), 56
    )


class Table(RuleBasedStateMachine):
    """Beside a list of who is in."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares(12, patience=3)
        self.model: list[Place] = []
        self.now = 0.0

    def taken(self, name: str) -> int:
        return sum(place.client == name for place in self.model)

    @rule(name=st.sampled_from("abcde"), waited=st.integers(0, 4))
    def come(self, name: str, waited: int) -> None:
        self.now += waited
        is_welcome = self.shares.admits(name)
        assert is_welcome is (self.taken(name) < 12 - len(self.model))
        if not is_welcome and (found := self.shares.displaceable(name, self.now)):
            assert found.client == name
            assert self.now - found.since >= 3
            self.model.remove(found)
            self.shares.leave(found)
            is_welcome = True
        if is_welcome:
            self.model.append(self.shares.enter(name, 0, self.now))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.model))
        self.model.remove(place)
        self.shares.leave(place)

    @invariant()
    def agree(self) -> None:
        assert len(self.shares) == len(self.model) <= 12
        assert all(self.shares.held(name) == self.taken(name) for name in "abcde")


TestTable = Table.TestCase
