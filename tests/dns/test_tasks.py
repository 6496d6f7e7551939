"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import uvloop

from faith.dns.tasks import Tasks

if TYPE_CHECKING:
    import pytest


def test_they_are_counted_until_they_end() -> None:
    async def main() -> None:
        tasks = Tasks()
        task = tasks.start(asyncio.sleep(0, "done"), "sleep")
        assert len(tasks) == 1
        assert await task == "done"
        await asyncio.sleep(0)
        assert len(tasks) == 0

    uvloop.run(main())


def test_what_one_raises_is_logged_and_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("of no use")

    async def main() -> None:
        tasks = Tasks()
        other = tasks.start(asyncio.sleep(0.01), "sleep")
        tasks.start(fail(), "errand")
        await other

    with caplog.at_level(logging.ERROR):
        uvloop.run(main())
    assert "errand failed" in caplog.text
    assert "of no use" in caplog.text


def test_they_end_together() -> None:
    async def main() -> asyncio.Task[None]:
        tasks = Tasks()
        task = tasks.start(asyncio.sleep(3600), "sleep")
        await tasks.close()
        return task

    assert uvloop.run(main()).cancelled()
