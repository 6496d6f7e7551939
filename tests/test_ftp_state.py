"""The table of states keeps the rules that stand above it."""

from __future__ import annotations

from faith.ftp.state import CLIENT_SPEAKS, SERVER_SPEAKS, TRANSITIONS, State, Step

WAITING_FOR_IO = {State.ACTIVE_LISTENER, State.PASSIVE_LISTENER}


def test_every_state_is_reached_and_every_step_taken() -> None:
    assert {State.COMMAND, *TRANSITIONS.values()} == set(State)
    assert {step for _, step in TRANSITIONS} == set(Step)


def test_it_is_somebodys_turn_always() -> None:
    for state in set(State) - {State.CLOSED}:
        assert state in CLIENT_SPEAKS | SERVER_SPEAKS | WAITING_FOR_IO


def test_nobody_is_read_while_a_listener_is_awaited() -> None:
    assert not WAITING_FOR_IO & (CLIENT_SPEAKS | SERVER_SPEAKS)


def test_what_is_over_stays_over() -> None:
    assert not {state for state, _ in TRANSITIONS} & {State.TRANSPARENT, State.CLOSED}
