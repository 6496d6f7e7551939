"""A search by itself; what each kind of them finds is in test_resolver.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faith.dns.cache import Cache
from faith.dns.dns_timers import Timers
from faith.dns.look_ups import LookUps
from faith.dns.search import Known, Single
from faith.dns.wire import SERVFAIL, WireError
from tests.dns import clock
from tests.dns.messages import question, reply
from tests.dns.test_resolver import REAL, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.answer import Answer

ASKED = question("v6.example.")
GOOD = REAL["v6.example. AAAA"]
OTHER = reply("other.example.", answer="other.example. 60 IN AAAA 2001:db8::81")


def told_by(
    do: Callable[[Single], object], make: Callable[[Answer], Answer] | None
) -> list[Answer]:
    """What a search says, of which *do* is done while it is under way."""

    async def main() -> list[Answer]:
        told: list[Answer] = []
        table = LookUps(Cache(), Table(REAL, delay=0.1), Timers())
        search = Single(table, ASKED, told.append, ASKED, make)
        search.begin()
        do(search)
        await asyncio.sleep(1)  # time: on the test's own clock
        assert search.is_over
        assert not table.is_asked(ASKED)
        return told

    return clock.run(main())


def nothing(search: Single) -> None:
    pass


def test_the_answer_is_made_of_what_was_asked() -> None:
    assert told_by(nothing, None) == [GOOD]
    assert told_by(nothing, lambda _: OTHER) == [OTHER]


def test_what_makes_no_sense_is_a_failure() -> None:
    def garble(answer: Answer) -> Answer:
        raise WireError("what is this")

    (answer,) = told_by(nothing, garble)
    assert answer.rcode == SERVFAIL


def test_it_concludes_once() -> None:
    assert told_by(lambda search: search.conclude(OTHER), None) == [OTHER]
    (answer,) = told_by(Single.overdue, None)
    assert answer.rcode == SERVFAIL


def test_what_is_cancelled_says_nothing_and_is_not_asked_any_more() -> None:
    assert told_by(Single.cancel, None) == []


def test_a_time_limit_takes_the_place_of_the_one_before() -> None:
    def limit(search: Single) -> None:
        search.after(0.01, lambda: search.conclude(OTHER))
        search.after(0.5, lambda: search.conclude(OTHER))

    assert told_by(limit, None) == [GOOD]


def test_what_is_known_is_said_at_once() -> None:
    async def main() -> None:
        told: list[Answer] = []
        table = Table()
        Known(LookUps(Cache(), table, Timers()), ASKED, told.append, GOOD).begin()
        assert told == [GOOD]
        assert not table.asked

    clock.run(main())
