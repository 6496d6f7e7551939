from __future__ import annotations

from faith.datagram.pace import Paces

ALICE, BOB = 1 << 64, 2 << 64


def let_in(paces: Paces, client: int, count: int, now: float) -> int:
    """How many of so many that come at once."""
    return sum(paces.refuses(client, now) is None for _ in range(count))


def test_each_client_has_its_own() -> None:
    paces = Paces(0, 5)
    assert let_in(paces, ALICE, 20, 0.0) == 5
    assert let_in(paces, BOB, 20, 0.0) == 5


def test_it_comes_back_with_time() -> None:
    paces = Paces(0, 10)
    let_in(paces, ALICE, 20, 0.0)
    assert 0 < let_in(paces, ALICE, 20, 1.0) <= 10
    assert let_in(paces, ALICE, 20, 100.0) == 10


def test_all_have_one_together() -> None:
    paces = Paces(8, 5)
    assert let_in(paces, ALICE, 20, 0.0) + let_in(paces, BOB, 20, 0.0) == 8


def test_no_limit_is_none() -> None:
    assert let_in(Paces(0, 0), ALICE, 1000, 0.0) == 1000


def test_another_limit_goes_for_what_was_there() -> None:
    paces = Paces(0, 100)
    let_in(paces, ALICE, 50, 0.0)
    paces.limit(0, 10)
    assert let_in(paces, ALICE, 1, 0.0) == 0


def test_a_client_is_a_network_of_the_configured_length() -> None:
    paces = Paces(0, 5)
    assert let_in(paces, ALICE, 5, 0.0) == 5
    assert let_in(paces, ALICE | 1, 5, 0.0) == 0
    apart = Paces(0, 5, 128)
    assert let_in(apart, ALICE, 5, 0.0) == 5
    assert let_in(apart, ALICE | 1, 5, 0.0) == 5
