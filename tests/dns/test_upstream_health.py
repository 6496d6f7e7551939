"""What is found out about a server, and how much of it is logged."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from faith.dns.answer import Answer, failure
from faith.dns.dns_timers import Timers
from faith.dns.endpoint import Endpoint
from faith.dns.upstream_exchange import Exchange
from faith.dns.upstream_health import PROBE, QUIET, LoggedHealth, Probe
from faith.dns.wire import REFUSED
from tests.dns import clock
from tests.dns.messages import question, reply
from tests.dns.waiting import Later

if TYPE_CHECKING:
    from faith.dns.question import Question
    from faith.dns.upstream_exchange import Done

GOOD, DEAD = question("good.example."), question("dead.example.")
ANSWER = reply("good.example.", answer="good.example. 60 IN AAAA 2001:db8::80")
REFUSAL = failure(GOOD, REFUSED)
WANTED = ["server it fails: why", "server it answers again"]


class Server(Exchange):
    """Answers for GOOD after *delay* seconds, with what it is given; everything else is lost."""

    def __init__(self, answer: Answer | OSError, delay: float = 0) -> None:
        self.endpoint = Endpoint("192.0.2.53")
        self.answer = answer
        self.delay = delay
        self.waiting: list[Later] = []

    def ask(self, question: Question, done: Done) -> Later:  # type: ignore[override]
        delay = self.delay if question is GOOD else 3600
        later = Later(delay, lambda: done(self.answer))
        self.waiting.append(later)
        return later


def probe(server: Server, *questions: Question) -> tuple[list[str | None], float]:
    """What came of it, as often as it was told, and when."""

    async def main() -> tuple[list[str | None], float]:
        told: list[str | None] = []
        when = 0.0

        def done(error: str | None) -> None:
            nonlocal when
            when = clock.now()
            told.append(error)

        Probe(server, questions, Timers(), done)
        await asyncio.sleep(3 * PROBE)  # time: on the test's own clock
        return told, when

    return clock.run(main())


@pytest.mark.parametrize("answer", [ANSWER, REFUSAL])
@pytest.mark.parametrize("delay", [0, PROBE / 2])
def test_one_answer_is_enough(answer: Answer, delay: float) -> None:
    assert probe(Server(answer, delay), DEAD, GOOD, GOOD) == ([None], delay)


def test_no_answer_in_time_is_none() -> None:
    assert probe(Server(ANSWER, 2 * PROBE), DEAD, GOOD) == (["no answer"], PROBE)


def test_it_is_over_when_all_have_failed() -> None:
    assert probe(Server(OSError("refused")), GOOD, GOOD) == (["refused"], 0)


def test_an_error_of_the_system_is_told_in_its_words() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    assert probe(Server(refused), GOOD) == (["Connection refused"], 0)


def test_an_error_beside_a_silence_is_no_end() -> None:
    assert probe(Server(OSError("refused")), DEAD, GOOD) == (["refused"], PROBE)


class TestLog:
    def test_it_has_each_change_but_no_more_than_one_in_a_while(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            health = LoggedHealth("it", Timers())
            for _ in range(1000):
                health.fail("why")
                health.fail("why else")
                health.recover()
            await asyncio.sleep(2 * QUIET)  # time: on the test's own clock
            assert [*caplog.messages] == WANTED
            health.fail("why")
            health.recover()

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert caplog.messages[2:] == [
            "server it fails: why; 999 failures were not logged",
            "server it answers again",
        ]

    def test_the_error_is_known_while_it_lasts(self) -> None:
        async def main() -> None:
            health = LoggedHealth("it", Timers())
            assert health.error == ""
            health.fail("why")
            health.fail("why else")
            assert health.error == "why"
            health.recover()
            assert health.error == ""
            health.fail("")
            assert health.error == "no answer"

        clock.run(main())

    def test_a_failure_that_lasts_is_logged_in_the_end(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            health = LoggedHealth("it", Timers())
            for _ in range(3):
                health.fail("why")
                health.recover()
            health.fail("for good")
            assert health.has_failed
            await asyncio.sleep(QUIET + 1)  # time: on the test's own clock

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert caplog.messages == [*WANTED, "server it fails: for good; 2 failures were not logged"]
