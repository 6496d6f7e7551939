"""Many calls to come, and one timer."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from faith.dns.dns_timers import Timers
from tests.dns import clock


def test_calls_come_in_their_order_and_at_their_time() -> None:
    async def main() -> list[tuple[str, float]]:
        timers = Timers()
        found: list[tuple[str, float]] = []

        def note(name: str) -> None:
            found.append((name, clock.now()))

        for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
            timers.after(seconds, partial(note, name))
        await asyncio.sleep(5)  # time: on the test's own clock
        return found

    assert clock.run(main()) == [("a", 1), ("b", 2), ("c", 3)]


def test_what_is_cancelled_is_not_called() -> None:
    async def main() -> list[str]:
        timers = Timers()
        found: list[str] = []
        first = timers.after(1, lambda: found.append("first"))
        timers.after(2, lambda: found.append("second"))
        first.cancel()
        await asyncio.sleep(3)  # time: on the test's own clock
        first.cancel()
        return found

    assert clock.run(main()) == ["second"]


def test_a_call_may_set_others() -> None:
    async def main() -> list[float]:
        timers = Timers()
        found: list[float] = []

        def again() -> None:
            found.append(clock.now())
            if len(found) < 4:
                timers.after(1, again)
                timers.after(0.5, lambda: None).cancel()

        timers.after(1, again)
        await asyncio.sleep(10)  # time: on the test's own clock
        return found

    assert clock.run(main()) == [1, 2, 3, 4]


def test_one_that_fails_leaves_the_others_alone() -> None:
    async def main() -> tuple[list[float], list[str]]:
        timers = Timers()
        found: list[float] = []
        trouble: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: trouble.append(str(context["exception"])))
        timers.after(1, [].pop)
        for seconds in (1, 2):
            timers.after(seconds, lambda: found.append(clock.now()))
        await asyncio.sleep(3)  # time: on the test's own clock
        return found, trouble

    found, trouble = clock.run(main())
    assert found == pytest.approx([1, 2])
    assert trouble == ["pop from empty list"]


def test_there_is_an_end_to_all() -> None:
    async def main() -> None:
        timers = Timers()
        timers.after(1, pytest.fail)
        timers.close()
        await asyncio.sleep(2)  # time: on the test's own clock

    clock.run(main())
