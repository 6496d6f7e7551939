from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faith.flow.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_others_have_their_turn_between_the_steps() -> None:
    seen: list[str] = []

    def work(name: str) -> Iterator[None]:
        for at in range(3):
            seen.append(f"{name}{at}")
            yield

    async def run() -> None:
        turns = Turns(asyncio.get_running_loop())
        turns.run("a", work("a"))
        turns.run("b", work("b"))
        for _ in range(6):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_work_asked_for_while_it_runs_begins_once_more_and_only_once() -> None:
    seen: list[int] = []

    def work(number: int) -> Iterator[None]:
        seen.append(number)
        yield

    async def run() -> None:
        turns = Turns(asyncio.get_running_loop())
        for number in range(4):
            turns.run("a", work(number))
        for _ in range(8):
            await asyncio.sleep(0)
        turns.run("a", work(9))
        for _ in range(4):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == [0, 3, 9]


def test_what_is_stopped_goes_no_further() -> None:
    seen: list[int] = []

    def work() -> Iterator[None]:
        for at in range(9):
            seen.append(at)
            yield

    async def run() -> None:
        turns = Turns(asyncio.get_running_loop())
        turns.run("a", work())
        await asyncio.sleep(0)
        turns.stop()
        for _ in range(4):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == [0]
