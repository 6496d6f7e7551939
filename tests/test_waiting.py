from __future__ import annotations

import itertools

import pytest

from faith.lab import waiting
from faith.lab.waiting import wait_until


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 1)


def test_what_is_true_already_is_not_waited_for() -> None:
    wait_until(lambda: "anything true", 0, "something")


def test_it_asks_again_until_it_is_true() -> None:
    counted = itertools.count(1)
    wait_until(lambda: next(counted) == 4, 5, "the fourth")
    assert next(counted) == 5


def test_it_says_what_it_waited_for_and_how_long() -> None:
    with pytest.raises(TimeoutError, match=r"^the end of time: not within 0\.02 s$"):
        wait_until(lambda: 0, 0.02, "the end of time")


def test_a_slow_machine_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 3)
    with pytest.raises(TimeoutError, match=r"not within 0\.03 s$"):
        wait_until(lambda: 0, 0.01, "the end of time")


def test_it_asks_at_least_once() -> None:
    asked: list[int] = []
    with pytest.raises(TimeoutError):
        wait_until(lambda: asked.append(1), -1, "nothing")
    assert asked == [1]


def test_an_error_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, 5, "something")
