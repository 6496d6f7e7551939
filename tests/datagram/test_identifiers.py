from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from faith.datagram.ping.identifiers import PEERS, Identifiers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.datagram.ping.identifiers import Near

ALICE, BOB = (1, 7), (2, 7)
SERVER, OTHER = 10, 11


def lending(most: int = 100) -> Identifiers:
    return Identifiers(60.0, most)


def assign(
    identifiers: Identifiers,
    near: Near,
    peer: int,
    wanted: int,
    now: float,
    domain: tuple[int, ...] = (),
) -> int | None:
    """Assign one to the host of *near*, which has a /64 of its own."""
    return identifiers.assign(near, near[0] << 64, peer, wanted, now, domain)


def test_it_keeps_its_own_if_that_is_free() -> None:
    identifiers = lending()
    assert assign(identifiers, ALICE, SERVER, 7, 0.0) == 7
    assert assign(identifiers, BOB, SERVER, 7, 0.0) != 7


def test_it_is_the_same_whomever_is_asked() -> None:
    identifiers = lending()
    assign(identifiers, ALICE, SERVER, 7, 0.0)
    ours = assign(identifiers, BOB, SERVER, 7, 0.0)
    assert ours is not None
    assert assign(identifiers, BOB, OTHER, 7, 1.0) == ours
    assert identifiers.whose(ours, SERVER, 2.0) == BOB
    assert identifiers.whose(ours, OTHER, 2.0) == BOB


def test_only_who_was_asked_may_answer() -> None:
    identifiers = lending()
    assign(identifiers, ALICE, SERVER, 7, 0.0)
    assert identifiers.whose(7, OTHER, 1.0) is None
    assert identifiers.whose(8, SERVER, 1.0) is None


def test_it_ends_a_minute_after_the_last_request() -> None:
    identifiers = lending()
    assign(identifiers, ALICE, SERVER, 7, 0.0)
    assign(identifiers, ALICE, SERVER, 7, 30.0)
    assert identifiers.whose(7, SERVER, 89.9) == ALICE
    assert identifiers.whose(7, SERVER, 90.0) is None
    identifiers.expire(90.0)
    assert len(identifiers) == 0
    assert assign(identifiers, BOB, SERVER, 7, 90.0) == 7


def test_those_who_were_asked_long_ago_may_answer_no_more() -> None:
    identifiers = lending()
    for second in range(200):
        assign(identifiers, ALICE, second, 7, float(second))
    assert identifiers.whose(7, 139, 199.0) is None
    assert identifiers.whose(7, 140, 199.0) == ALICE
    (mapping,) = identifiers.dumps()
    assert len(mapping[-1]) == 60


def test_there_are_so_many_and_no_more() -> None:
    identifiers = lending(2)
    assert assign(identifiers, (1,), SERVER, 1, 0.0) == 1
    assert assign(identifiers, (2,), SERVER, 2, 1.0) == 2
    assert assign(identifiers, (3,), SERVER, 3, 2.0) is None
    assert assign(identifiers, (1,), OTHER, 1, 2.0) == 1
    assert assign(identifiers, (3,), SERVER, 3, 61.0) == 3


def test_so_many_hosts_are_asked_and_no_more() -> None:
    identifiers = lending(2)
    for server in range(2 * PEERS):
        assert assign(identifiers, ALICE, server, 7, float(server)) == 7
    assert assign(identifiers, ALICE, 99, 7, 10.0) is None
    assert assign(identifiers, BOB, 99, 8, 10.0) is None
    assert assign(identifiers, ALICE, 0, 7, 10.0) == 7
    assert assign(identifiers, ALICE, 99, 7, 61.0) is None  # the first to end is 1
    assert assign(identifiers, ALICE, 0, 7, 61.0) == 7
    assert assign(identifiers, ALICE, 99, 7, 61.5) == 7
    identifiers.expire(200.0)
    assert assign(identifiers, BOB, 99, 8, 200.0) == 8


def test_they_differ_within_a_domain_only() -> None:
    identifiers = lending()
    assert assign(identifiers, ALICE, SERVER, 7, 0.0, (1,)) == 7
    assert assign(identifiers, BOB, SERVER, 7, 0.0, (2,)) == 7
    assert identifiers.whose(7, SERVER, 1.0, (2,)) == BOB


def test_another_process_goes_on_with_them() -> None:
    old, new = lending(), lending()
    assign(old, ALICE, SERVER, 7, 0.0)
    assign(old, BOB, SERVER, 9, 10.0, (1,))
    assign(new, (5, 5), SERVER, 8, 5.0)
    new.load(json.loads(json.dumps(old.dumps())))
    assert new.whose(7, SERVER, 59.0) == ALICE
    assert new.whose(9, SERVER, 59.0, (1,)) == BOB
    new.expire(60.0)
    assert len(new) == 2
    assert assign(new, BOB, OTHER, 9, 60.0, (1,)) == 9


def test_what_is_lent_already_stays_with_whom_it_is() -> None:
    old, new = lending(), lending()
    assign(old, ALICE, SERVER, 7, 0.0)
    assign(new, BOB, SERVER, 7, 0.0)
    new.load(old.dumps())
    assert new.whose(7, SERVER, 1.0) == BOB
    assert len(new) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 40)),
        max_size=50,
    )
)
def test_no_two_have_the_same_and_each_keeps_its_own(
    requests: Sequence[tuple[int, int, int, int]],
) -> None:
    identifiers = lending(4)
    now = 0.0
    last: dict[tuple[int, ...], tuple[int, float]] = {}
    for client, wanted, peer, pause in requests:
        now += pause
        ours = assign(identifiers, (client, wanted), peer, wanted, now)
        before = last.get((client, wanted))
        if before and before[1] > now:
            assert ours == before[0]
        if ours is not None:
            last[client, wanted] = ours, now + 60
            assert identifiers.whose(ours, peer, now) == (client, wanted)
        live = [one for one, until in last.values() if until > now]
        assert len(live) == len(set(live)) == len(identifiers) <= 4


def test_one_client_never_has_more_than_half_and_others_find_some() -> None:
    identifiers = lending(100)
    greedy = [assign(identifiers, (1, number), SERVER, number, 0.0) for number in range(100)]
    assert sum(one is not None for one in greedy) == 50
    assert assign(identifiers, (2, 7), SERVER, 777, 0.0) == 777


def test_addresses_of_one_network_are_one_client() -> None:
    identifiers = lending(100)
    for number in range(60):
        identifiers.assign((number, 7), 1 << 64 | number, SERVER, number, 0.0)
    assert len(identifiers) == 50
    wide = Identifiers(60.0, 100, 128)
    for number in range(60):
        wide.assign((number, 7), 1 << 64 | number, SERVER, number, 0.0)
    assert len(wide) == 60


def test_a_share_is_given_back_with_the_identifier() -> None:
    identifiers = lending(100)
    for number in range(60):
        assign(identifiers, (1, number), SERVER, number, 0.0)
    identifiers.expire(60.0)
    for number in range(60):
        assign(identifiers, (1, number), SERVER, number, 61.0)
    assert len(identifiers) == 50
