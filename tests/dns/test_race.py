"""One question and several servers, by a clock that jumps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from faith.dns.answer import Answer, failure
from faith.dns.dns_timers import Timers
from faith.dns.race import DEADLINE, PATIENCE, Race
from faith.dns.wire import REFUSED, SERVFAIL
from tests.dns import clock
from tests.dns.messages import question, reply
from tests.dns.waiting import Later, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.question import Question

ASKED = question("www.example.")
GOOD = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::80")
OTHER = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::81")


class Server:
    """One that says *answer* after *delay* seconds; None for *delay* is silence."""

    def __init__(self, answer: Answer | None, delay: float | None = 0) -> None:
        self.answer = answer
        self.delay = delay
        self.asked: list[float] = []
        self.missed_since: list[float] = []

    def ask(self, asked: Question, done: Callable[[Answer | None], object]) -> Later:
        self.asked.append(clock.now())
        return Later(1000 if self.delay is None else self.delay, done, self.answer)

    def missed(self, since: float) -> None:
        self.missed_since.append(since)


def race(*servers: Server) -> tuple[Answer, float]:
    """The answer, and the seconds it took."""

    async def main() -> tuple[Answer, float]:
        timers = Timers()

        def begin(done: Callable[[Answer], object]) -> Race:
            found = Race(ASKED, servers, timers, done)
            found.go_on()
            return found

        answer = await result_of(begin)
        took = clock.now()
        timers.close()
        return answer, took

    return clock.run(main())


def test_who_answers_is_the_only_one_asked() -> None:
    first, second = Server(GOOD, 0.1), Server(OTHER)
    answer, took = race(first, second)
    assert answer is GOOD
    assert took == pytest.approx(0.1)
    assert not second.asked


def test_who_is_silent_gets_company_and_may_yet_win() -> None:
    first, second = Server(GOOD, PATIENCE[0] + 0.1), Server(OTHER, 0.3)
    answer, took = race(first, second)
    assert answer is GOOD
    assert took == pytest.approx(PATIENCE[0] + 0.1)
    assert second.asked == [pytest.approx(PATIENCE[0])]


def test_who_is_silent_is_asked_again_in_turn_and_it_is_noted() -> None:
    silent = [Server(None, None), Server(None, None)]
    answer, took = race(*silent)
    assert answer.rcode == SERVFAIL
    assert took == pytest.approx(DEADLINE)
    assert [len(server.asked) for server in silent] == [3, 2]
    assert [server.missed_since for server in silent] == [[0], [pytest.approx(PATIENCE[0])]]


@pytest.mark.parametrize("what", [None, failure(ASKED, REFUSED)])
def test_who_fails_is_not_asked_again(what: Answer | None) -> None:
    first, second = Server(what), Server(GOOD)
    assert race(first, second)[0] is GOOD
    assert (len(first.asked), len(second.asked)) == (1, 1)
    assert not first.missed_since


def test_what_dnssec_does_not_vouch_for_is_final() -> None:
    bogus = Answer(failure(ASKED).message, bogus=True)
    second = Server(GOOD)
    assert race(Server(bogus), second)[0] is bogus
    assert not second.asked


def test_the_last_that_was_said_is_better_than_nothing() -> None:
    refused = failure(ASKED, REFUSED)
    assert race(Server(failure(ASKED)), Server(refused), Server(None))[0] is refused


def test_nobody_to_ask_is_a_failure_that_is_not_kept() -> None:
    answer, took = race()
    assert (answer.rcode, answer.lifetime, took) == (SERVFAIL, 0, 0)


def test_who_gives_up_is_told_nothing() -> None:
    async def main() -> list[Answer]:
        told: list[Answer] = []
        timers = Timers()
        found = Race(ASKED, [Server(GOOD, 0.1)], timers, told.append)
        found.go_on()
        found.cancel()
        await asyncio.sleep(1)  # time: on the test's own clock
        timers.close()
        return told

    assert clock.run(main()) == []
