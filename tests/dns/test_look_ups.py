"""The table of questions: each is asked once, for all that wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from faith.dns.cache import Cache
from faith.dns.dns_timers import Timers
from faith.dns.look_ups import LookUps
from faith.dns.wire import WireError
from tests.dns.messages import lines, question, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.answer import Answer
    from faith.dns.question import Question

ASKED = question("www.example.")
GOOD = reply("www.example.", answer="www.example. 60 IN AAAA 2001:db8::80")


class Servers:
    """Servers that say something when they are let, and then only to who has not given up."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Answer], object]] = []
        self.cancelled = 0

    def ask(self, asked: Question, done: Callable[[Answer], object]) -> Servers:
        self.asked.append(done)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def comes_back(self, host: str, port: int) -> bool:
        return False


class Waiter:
    def __init__(self) -> None:
        self.is_over = False
        self.told: list[Answer] = []
        self.errors: list[WireError] = []

    def take(self, answer: Answer) -> None:
        self.told.append(answer)

    def refuse(self, answer: Answer) -> None:
        raise WireError("it is of no use")

    def garbled(self, error: WireError) -> None:
        self.errors.append(error)


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def table(servers: Servers) -> LookUps:
    return LookUps(Cache(), servers, Timers())


def test_all_that_wait_get_one_answer(table: LookUps, servers: Servers) -> None:
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        assert table.look_up(ASKED, waiter, waiter.take)
    (done,) = servers.asked
    assert not waiters[0].told
    done(GOOD)
    assert [waiter.told for waiter in waiters] == [[GOOD]] * 3
    assert not table.is_asked(ASKED)


def test_afterwards_it_is_known(table: LookUps, servers: Servers) -> None:
    table.look_up(ASKED, Waiter(), lambda _: None)
    servers.asked[0](GOOD)
    waiter = Waiter()
    assert table.look_up(ASKED, waiter, waiter.take) is None
    assert lines(waiter.told[0]) == lines(GOOD)
    assert len(servers.asked) == 1


def test_what_one_cannot_use_does_not_concern_the_others(table: LookUps, servers: Servers) -> None:
    first, second = Waiter(), Waiter()
    table.look_up(ASKED, first, first.refuse)
    table.look_up(ASKED, second, second.take)
    servers.asked[0](GOOD)
    assert len(first.errors) == 1
    assert second.told == [GOOD]


def test_who_is_over_is_not_called(table: LookUps, servers: Servers) -> None:
    waiter = Waiter()
    table.look_up(ASKED, waiter, waiter.take)
    waiter.is_over = True
    servers.asked[0](GOOD)
    assert not waiter.told


def test_what_nobody_waits_for_any_more_is_given_up(table: LookUps, servers: Servers) -> None:
    waiters = [Waiter(), Waiter()]
    found = table.look_up(ASKED, waiters[0], waiters[0].take)
    assert found
    assert table.look_up(ASKED, waiters[1], waiters[1].take) is found
    table.leave(found, waiters[0])
    assert table.is_asked(ASKED)
    table.leave(found, waiters[1])
    assert not table.is_asked(ASKED)
    assert servers.cancelled == 1
    table.leave(found, waiters[1])
    assert servers.cancelled == 1


@pytest.mark.parametrize("dnssec_ok", [False, True])
@pytest.mark.parametrize("unchecked", [False, True])
def test_what_is_asked_is_so_with_whatever_bits(
    table: LookUps, dnssec_ok: bool, unchecked: bool
) -> None:
    asked = question("www.example.", dnssec_ok=dnssec_ok, unchecked=unchecked)
    table.look_up(asked, Waiter(), lambda _: None)
    assert table.is_asked(ASKED)
    assert not table.is_asked(question("www.example.", "A"))


def test_an_answer_may_be_there_at_once() -> None:
    class Quick(Servers):
        def ask(self, asked: Question, done: Callable[[Answer], object]) -> Servers:
            done(GOOD)
            return self

    async def main() -> None:
        quick = Quick()
        table = LookUps(Cache(), quick, Timers())
        waiter = Waiter()
        found = table.look_up(ASKED, waiter, waiter.take)
        assert waiter.told == [GOOD]
        assert found
        table.leave(found, waiter)
        assert not quick.cancelled

    asyncio.run(main())
