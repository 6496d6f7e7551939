"""Timers by name."""

from __future__ import annotations

import asyncio

import pytest

from faith.relay.alg.timers import Timers


@pytest.mark.parametrize("cancelled", [False, True])
def test_each_is_called_once_unless_it_is_cancelled(cancelled: bool) -> None:
    loop = asyncio.new_event_loop()
    timers = Timers(loop)
    called: list[str] = []

    async def run() -> None:
        done = loop.create_future()
        timers.start("a", 0, lambda: called.append("a"))
        timers.start("a", 0, lambda: called.append("again"))
        timers.start("b", 0, lambda: called.append("b"))
        timers.start("last", 0.01, lambda: done.set_result(None))
        if cancelled:
            timers.cancel("a")
            timers.cancel("a")
        assert ("a" in timers) is not cancelled
        await done

    loop.run_until_complete(run())
    assert called == (["b"] if cancelled else ["a", "b"])
    assert "a" not in timers
    timers.start("a", 0, lambda: called.append("late"))
    timers.cancel_all()
    loop.run_until_complete(asyncio.sleep(0))
    assert "late" not in called
    loop.close()
