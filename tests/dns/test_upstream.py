"""Several servers, of which some are slow, dead or of no use."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.dns.answer import Answer, failure
from faith.dns.dns_counters import Counters
from faith.dns.dns_timers import Timers
from faith.dns.endpoint import Endpoint
from faith.dns.race import DEADLINE, PATIENCE
from faith.dns.tasks import Tasks
from faith.dns.upstream import LONGEST_REST, TOLERANCE, Upstream, Upstreams
from faith.dns.upstream_exchange import Exchange
from faith.dns.wire import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, WireError
from tests.dns import clock
from tests.dns.messages import question, reply
from tests.dns.waiting import Later, result_of
from tests.dns.zones import NameServer, Zones

if TYPE_CHECKING:
    from faith.dns.question import Question
    from faith.dns.upstream_exchange import Done

WWW = question("www.example.")
GOOD = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::80")
OTHER = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::81")
NO_NAME = reply("www.example.", rcode="NXDOMAIN")


class Scripted(Exchange):
    """A server that says *answer*, or raises it, after *delay* seconds; None is silence."""

    def __init__(self, answer: Answer | OSError | WireError | None, delay: float = 0) -> None:
        self.endpoint = Endpoint("192.0.2.53")
        self.answer = answer
        self.delay = delay
        self.asked = self.probed = 0
        self.own = ("", 0)

    def ask(self, question: Question, done: Done) -> Later:  # type: ignore[override]
        if question.section == WWW.section:
            self.asked += 1
        else:
            self.probed += 1
        delay = 3600 if self.answer is None else self.delay
        return Later(delay, lambda: done(self.answer or OSError("late")))

    def is_own(self, host: str, port: int | None = None) -> bool:
        return host == self.own[0] and port in (None, self.own[1])

    def close(self) -> None:
        pass


def ask(*servers: Scripted, times: int = 1) -> list[Answer]:
    return ask_in_time(*servers, times=times)[0]


def ask_in_time(*servers: Scripted, times: int = 1) -> tuple[list[Answer], float]:
    """The answers, and the seconds it took."""

    async def main() -> tuple[list[Answer], float]:
        upstreams = Upstreams(servers, Tasks())
        return [await result_of(upstreams.ask, WWW) for _ in range(times)], clock.now()

    return clock.run(main())


class TestOrder:
    def test_the_first_server_is_asked_alone_as_long_as_it_answers(self) -> None:
        first, second = Scripted(GOOD), Scripted(OTHER)
        assert ask(first, second, times=3) == [GOOD] * 3
        assert (first.asked, second.asked) == (3, 0)

    def test_then_the_others(self) -> None:
        first, second, third = Scripted(None), Scripted(OSError("no")), Scripted(GOOD)
        assert ask(first, second, third) == [GOOD]

    @pytest.mark.parametrize("error", [OSError("no"), ConnectionError(), WireError("what")])
    def test_an_error_gives_the_next_its_turn_at_once(self, error: OSError | WireError) -> None:
        assert ask_in_time(Scripted(error), Scripted(GOOD)) == ([GOOD], 0)

    @pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED])
    def test_so_does_a_refusal(self, rcode: int) -> None:
        refusal = failure(WWW, rcode)
        assert ask(Scripted(refusal), Scripted(GOOD)) == [GOOD]
        assert ask(Scripted(refusal), Scripted(NO_NAME))[0].rcode == NXDOMAIN

    def test_who_has_refused_is_not_asked_again(self) -> None:
        refusing, silent = Scripted(failure(WWW, REFUSED)), Scripted(None)
        assert [answer.rcode for answer in ask(refusing, silent)] == [REFUSED]
        assert refusing.asked == 1
        assert silent.asked > 1

    def test_a_bogus_zone_is_not_tried_elsewhere(self) -> None:
        bogus = Answer(failure(WWW).message, bogus=True)
        second = Scripted(GOOD)
        assert ask(Scripted(bogus), second) == [bogus]
        assert second.asked == 0


class TestPatience:
    def test_a_slow_answer_counts_although_others_were_asked_meanwhile(self) -> None:
        slow, silent = Scripted(GOOD, delay=2), Scripted(None)
        assert ask_in_time(slow, silent) == ([GOOD], 2)
        assert silent.asked == 1

    def test_a_lost_query_is_repeated(self) -> None:
        alone = Scripted(None)
        ask(alone)
        assert alone.asked == 5

    @pytest.mark.parametrize("count", [1, 3])
    def test_servfail_in_less_than_five_seconds(self, count: int) -> None:
        (answer,), seconds = ask_in_time(*[Scripted(None) for _ in range(count)])
        assert answer.rcode == SERVFAIL
        assert seconds == pytest.approx(DEADLINE)

    def test_nobody_left_is_servfail_at_once(self) -> None:
        (answer,), seconds = ask_in_time(Scripted(OSError("no")), Scripted(OSError("no")))
        assert answer.rcode == SERVFAIL
        assert seconds == 0


class TestHealth:
    def test_who_fails_is_asked_last(self) -> None:
        dead, good = Scripted(OSError("no")), Scripted(GOOD)
        assert ask(dead, good, times=10) == [GOOD] * 10
        assert dead.asked == TOLERANCE

    def test_the_servers_are_known_with_their_errors(self) -> None:
        dead, good = Scripted(OSError("no")), Scripted(GOOD)
        counters = Counters()

        async def main() -> list[tuple[str, str]]:
            upstreams = Upstreams([dead, good], Tasks(), counters)
            before = counters.servers()
            for _ in range(2 * TOLERANCE):
                await result_of(upstreams.ask, WWW)
            assert [error for _, error in before] == ["", ""]
            return counters.servers()

        found = clock.run(main())
        assert found == [(str(dead.endpoint), "no"), (str(good.endpoint), "")]

    def test_who_is_silent_too(self) -> None:
        dead, good = Scripted(None), Scripted(GOOD)
        ask(dead, good, times=6)
        assert dead.asked == TOLERANCE

    def test_a_slow_name_is_not_the_servers_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        """Silent for one name, it answers when it is asked for what it knows."""

        class Recursive(Scripted):
            def ask(self, question: Question, done: Done) -> Later:  # type: ignore[override]
                self.answer = None if question.section == WWW.section else GOOD
                return super().ask(question, done)

        slow, other = Recursive(None), Scripted(NO_NAME)

        async def main() -> bool:
            upstreams = Upstreams([slow, other], Tasks())
            for _ in range(5 * TOLERANCE):
                await result_of(upstreams.ask, WWW)
            return upstreams._all[0].rests(clock.now())

        assert not clock.run(main())
        assert slow.asked == 5 * TOLERANCE
        assert slow.probed
        assert not caplog.records

    def test_a_dead_name_is_not_even_where_the_root_is_not_answered(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By a resolver that has no way to the root, or that drops such questions."""

        class Resolver(Scripted):
            def ask(self, question: Question, done: Done) -> Later:  # type: ignore[override]
                self.answer = GOOD if question.section == WWW.section else None
                return super().ask(question, done)

        resolver = Resolver(GOOD)

        async def main() -> None:
            upstreams = Upstreams([resolver], Tasks())
            for _ in range(5):
                await result_of(upstreams.ask, WWW)
                for _ in range(2 * TOLERANCE):
                    await result_of(upstreams.ask, question("dead.example."))

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert resolver.probed
        assert not caplog.records

    def test_want_of_tcp_for_some_names_is_not_the_servers_failure(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Cut(Scripted):
            def ask(self, question: Question, done: Done) -> Later:  # type: ignore[override]
                self.answer = GOOD if question.section == WWW.section else OSError("no TCP")
                return super().ask(question, done)

        async def main() -> None:
            upstreams = Upstreams([Cut(GOOD)], Tasks())
            await result_of(upstreams.ask, WWW)
            for _ in range(2 * TOLERANCE):
                await result_of(upstreams.ask, question("long.example."))

        clock.run(main())
        assert not caplog.records

    def test_nor_is_one_that_is_slow_beside_others(self) -> None:
        """What it says to another question meanwhile is as good as a probe."""
        slow, other = Scripted(None), Scripted(NO_NAME)

        async def main() -> bool:
            tasks = Tasks()
            upstreams = Upstreams([slow, other], tasks)
            for _ in range(2 * TOLERANCE):
                slow.answer = None
                waiting = tasks.start(result_of(upstreams.ask, WWW), "slow")
                await asyncio.sleep(0.1)  # time: on the test's own clock
                slow.answer = GOOD
                await result_of(upstreams.ask, question("quick.example."))
                await waiting
            return upstreams._all[0].rests(clock.now())

        assert not clock.run(main())

    def test_the_log_has_it_once_when_it_is_sure(self, caplog: pytest.LogCaptureFixture) -> None:
        dead, good = Scripted(None), Scripted(GOOD)

        async def main() -> None:
            upstreams = Upstreams([dead, good], Tasks())
            for _ in range(6):
                await result_of(upstreams.ask, WWW)
            await asyncio.sleep(PATIENCE[0])  # time: on the test's own clock
            dead.answer = GOOD
            await asyncio.sleep(LONGEST_REST)  # time: on the test's own clock
            await result_of(upstreams.ask, WWW)

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert [record.getMessage() for record in caplog.records] == [
            "server 192.0.2.53:53 fails: no answer",
            "server 192.0.2.53:53 answers again",
        ]

    def test_who_is_cut_short_has_not_failed(self) -> None:
        slow, silent = Scripted(GOOD, delay=0.7), Scripted(None)

        async def main() -> bool:
            upstreams = Upstreams([slow, silent], Tasks())
            for _ in range(TOLERANCE + 1):
                await result_of(upstreams.ask, WWW)
            return upstreams._all[1].rests(clock.now())

        assert not clock.run(main())
        assert silent.asked == slow.asked == TOLERANCE + 1

    def test_what_we_have_run_out_of_is_not_the_servers_fault(self) -> None:
        server = Scripted(OSError(errno.EMFILE, "Too many open files"))

        async def main() -> None:
            found = Upstream(server, Counters(), Timers())
            for _ in range(2 * TOLERANCE):
                assert await result_of(found.ask, WWW) is None
            assert not found.rests(clock.now())

        clock.run(main())

    def test_rest_grows_and_ends_with_an_answer(self) -> None:
        server = Scripted(OSError("no"))

        async def main() -> None:
            found = Upstream(server, Counters(), Timers())
            now = clock.now
            for _ in range(TOLERANCE):
                assert not found.rests(now())
                await result_of(found.ask, WWW)
            assert found.rests(now() + 0.9)
            assert not found.rests(now() + 1.1)
            found._rests_until = 0
            await result_of(found.ask, WWW)
            assert found.rests(now() + 1.9)
            for _ in range(20):
                found._rests_until = 0
                await result_of(found.ask, WWW)
            assert not found.rests(now() + LONGEST_REST + 1)
            server.answer = GOOD
            assert await result_of(found.ask, WWW) is GOOD
            assert not found.rests(now())

        clock.run(main())


class TestCircles:
    HOST, OTHER = "192.0.2.53", "192.0.2.99"

    def test_a_server_that_asks_in_turn_is_told_of_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its refusals are ours, and no sign of health; a yes is."""
        server = Scripted(failure(WWW, REFUSED))

        async def main() -> None:
            upstreams = Upstreams([server], Tasks())
            for _ in range(2 * TOLERANCE):
                assert upstreams.comes_back(self.HOST, 5353)
                await result_of(upstreams.ask, WWW)
            server.answer = GOOD
            await result_of(upstreams.ask, WWW)

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert caplog.messages == [
            "server 192.0.2.53:53 fails: it asks this server what this server asks it",
            "server 192.0.2.53:53 answers again",
        ]

    def test_nor_is_this_server_itself_more_than_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = Scripted(failure(WWW, REFUSED))
        server.own = ("127.0.0.1", 40000)

        async def main() -> None:
            upstreams = Upstreams([server], Tasks())
            for _ in range(3):
                assert upstreams.comes_back("127.0.0.1", 40000)
                await result_of(upstreams.ask, WWW)

        with caplog.at_level(logging.INFO):
            clock.run(main())
        assert caplog.messages == ["server 192.0.2.53:53 fails: it is this server itself"]

    def test_others_may_ask_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        """A client; or somebody on the host that the server is on with us."""
        server = Scripted(GOOD)
        server.own = (self.HOST, 40000)

        async def main() -> None:
            upstreams = Upstreams([server], Tasks())
            assert not upstreams.comes_back(self.OTHER, 5353)
            assert not upstreams.comes_back(self.HOST, 5353)

        clock.run(main())
        assert not caplog.messages


def test_over_the_network() -> None:
    zone = "$ORIGIN example.\n@ 300 IN SOA ns host 1 1 1 1 60\nwww 60 IN AAAA 2001:db8::80\n"
    with NameServer(Zones(zone)) as first, NameServer(Zones(zone)) as second:
        endpoints = [Endpoint(server.host, server.port) for server in (first, second)]

        async def main() -> Answer:
            upstreams = Upstreams([Exchange(endpoint) for endpoint in endpoints], Tasks())
            try:
                answer: Answer = await result_of(upstreams.ask, WWW)
                return answer
            finally:
                upstreams.close()

        assert uvloop.run(main()).rcode == NOERROR
