"""Names whose addresses are wanted all at once, by names that answer when the test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from faith.relay.proxy import address_search
from faith.relay.proxy.address_search import AddressSearch
from faith.relay.proxy.happy_dial import MOST
from faith.relay.proxy.name_search import Found
from faith.translation.reasons import NAME_FAILED, NO_NAME
from tests.test_happy_dial import Search, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

V6 = Found(6, ("2001:db8::1", "2001:db8::2"))
V4 = Found(4, ("192.0.2.1",))
NAME = "www.example.org"


class Names:
    """Names on demand; *at_once* is found before `look_up` returns."""

    def __init__(self, *at_once: Found) -> None:
        self.at_once = at_once
        self.searches: list[Search] = []

    def look_up(self, name: str, found: Callable[[Found], object], client: int) -> Search:
        self.searches.append(Search(name, found))
        for one in self.at_once:
            found(one)
        return self.searches[-1]


class Bench:
    def __init__(self, loop: asyncio.AbstractEventLoop, *at_once: Found) -> None:
        self.loop = loop
        self.names = Names(*at_once)
        self.answers: list[list[str] | str] = []
        self.search = AddressSearch(loop, self.names, NAME, self.answers.append, 1)

    def find(self, *found: Found) -> None:
        for one in found:
            self.names.searches[0].found(one)

    def answer(self) -> list[str] | str:
        until(self.loop, lambda: self.answers)
        (answer,) = self.answers
        assert self.names.searches[0].cancelled
        self.find(V4, V6)  # whatever comes later is for nobody
        self.loop.run_until_complete(asyncio.sleep(0))
        assert self.answers == [answer]
        return answer


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("found", [(V4, V6), (V6, V4)])
def test_the_families_take_turns(loop: asyncio.AbstractEventLoop, found: tuple[Found, ...]) -> None:
    bench = Bench(loop)
    bench.find(*found)
    assert bench.answers == []
    assert bench.answer() == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


def test_names_that_answer_at_once(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop, V6, V4)
    assert bench.answers == []
    assert bench.answer() == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


@pytest.mark.parametrize("found", [V4, V6])
def test_a_late_family_is_not_waited_for(loop: asyncio.AbstractEventLoop, found: Found) -> None:
    bench = Bench(loop)
    bench.find(found)
    assert bench.answer() == list(found.addresses)


def test_no_more_addresses_than_are_tried(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    many = tuple(f"192.0.2.{number}" for number in range(50))
    bench.find(Found(4, many), Found(6))
    assert bench.answer() == list(many[:MOST])


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ((Found(4), Found(6)), NO_NAME),
        ((Found(4, failure=NAME_FAILED), Found(6)), NAME_FAILED),
        ((Found(4, failure=NAME_FAILED), Found(6, failure=NO_NAME)), NAME_FAILED),
        ((Found(4, failure=NO_NAME), Found(6, failure=NO_NAME)), NO_NAME),
    ],
)
def test_a_name_without_addresses(
    loop: asyncio.AbstractEventLoop, found: tuple[Found, ...], why: str
) -> None:
    bench = Bench(loop)
    bench.find(*found)
    assert bench.answer() == why


def test_a_name_that_is_not_answered(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_search, "PATIENCE", 0.01)
    assert Bench(loop).answer() == NAME_FAILED


def test_nobody_who_looks_names_up(loop: asyncio.AbstractEventLoop) -> None:
    answers: list[list[str] | str] = []
    AddressSearch(loop, None, NAME, answers.append, 1)
    assert answers == []
    until(loop, lambda: answers)
    assert answers == [NAME_FAILED]


def test_a_search_that_is_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.find(V4, V6)
    bench.search.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))  # time: for what is not to come
    assert bench.answers == []
    assert bench.names.searches[0].cancelled
