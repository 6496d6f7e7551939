"""Questions that are answered in their order, of which few wait at a time."""

from __future__ import annotations

from functools import partial

from faith.relay.alg.supervisor_requests import MOST, SupervisorRequests


class Asker:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.done: list[int] = []
        self.requests = SupervisorRequests(lambda action: action())

    def ask(self, number: int) -> None:
        self.requests.ask(partial(self.asked.append, number), partial(self.done.append, number))


def test_answers_come_in_the_order_of_the_questions() -> None:
    asker = Asker()
    asker.ask(1)
    asker.ask(2)
    asker.requests.answered()
    assert (asker.asked, asker.done) == ([1, 2], [1])
    asker.requests.answered()
    asker.requests.answered()
    assert asker.done == [1, 2]


def test_no_more_are_asked_than_can_wait() -> None:
    asker = Asker()
    for number in range(3 * MOST):
        asker.ask(number)
    assert len(asker.asked) == MOST
    asker.requests.answered()
    assert len(asker.asked) == MOST + 1
    while len(asker.done) < 3 * MOST:
        asker.requests.answered()
    assert asker.done == asker.asked == list(range(3 * MOST))


def test_nobody_waits_for_who_has_gone() -> None:
    asker = Asker()
    for number in range(MOST + 2):
        asker.ask(number)
    asker.requests.give_up()
    asker.ask(1000)
    assert asker.done == [*range(MOST + 2), 1000]
    assert len(asker.asked) == MOST
