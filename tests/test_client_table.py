"""Clients by their sessions, and what becomes of those who do not ask in time."""

from __future__ import annotations

import asyncio
from typing import Any

from faith.relay.proxy.client_table import ClientTable
from tests.test_happy_dial import until


def test_whose_turn_it_is_has_its_time() -> None:
    loop = asyncio.new_event_loop()
    missed: list[str] = []
    table: ClientTable[str] = ClientTable(loop, 0.05, missed.append)
    sessions: list[Any] = [object() for _ in range(3)]
    for session, client in zip(sessions, ("asks", "answers", "leaves"), strict=True):
        table.add(session, client)
        table.keep_time(session, must_ask=True)
    table.keep_time(sessions[1], must_ask=False)
    table.remove(sessions[2])
    until(loop, lambda: missed)
    assert missed == ["asks"]
    assert list(table.clients.values()) == ["asks", "answers"]
    assert not table.greeting.sessions()
    loop.close()


def test_time_does_not_start_anew_while_it_runs() -> None:
    loop = asyncio.new_event_loop()
    missed: list[str] = []
    table: ClientTable[str] = ClientTable(loop, 0.2, missed.append)
    session: Any = object()
    table.add(session, "trickles")

    def done() -> bool:
        if not missed:
            table.keep_time(session, must_ask=True)
        return bool(missed)

    until(loop, done)
    loop.close()
