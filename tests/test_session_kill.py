"""Sessions ended in slices: each once, none that begins meanwhile, and others have their turn."""

from __future__ import annotations

import asyncio

from faith.daemon.services.session_kill import SLICE, SessionKill


def test_all_that_were_there_are_ended_in_slices_between_which_others_have_their_turn() -> None:
    here = list(range(3 * SLICE + 1))
    slices: list[list[int]] = []
    turns: list[int] = []

    def kill(some: list[int]) -> int:
        slices.append(some)
        here.append(1000 + len(slices))  # one that begins
        here.remove(some[0])  # one that has ended by itself
        loop.call_soon(turns.append, len(slices))
        return len(some) - 1

    loop = asyncio.new_event_loop()
    done = loop.create_future()
    chosen = (one for one in here)
    SessionKill(loop, chosen, kill, done.set_result)
    assert loop.run_until_complete(done) == 3 * (SLICE - 1)
    loop.close()
    assert [len(some) for some in slices] == [SLICE, SLICE, SLICE, 1]
    assert [one for some in slices for one in some] == list(range(3 * SLICE + 1))
    assert turns[:3] == [1, 2, 3]


def test_none_is_zero() -> None:
    loop = asyncio.new_event_loop()
    told: list[int] = []
    SessionKill(loop, iter(()), len, told.append)
    loop.close()
    assert told == [0]
