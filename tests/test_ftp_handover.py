"""A translator that goes on in another process: no difference to be seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.ftp import V4_TO_V6, V6_TO_V4, Event, OpenActive, OpenPassive
from tests.ftp_playbook import FromClient, FromServer, Listening, Refused, new_translator
from tests.test_ftp_streams import LINES

if TYPE_CHECKING:
    from faith.ftp import Direction, Translator

PIECES = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from([b"\xff", b"\xff\xf4", b"\xff\xf2", b"\xff\xfb\x01", b"\xff\xfa\x18", b"\r\0"]),
    st.binary(max_size=8),
)


def moved(translator: Translator, direction: Direction) -> Translator:
    """Another one, made of what could be written down of this one."""
    other = new_translator(direction)
    other.restore(json.loads(json.dumps(translator.state())))
    return other


@pytest.mark.parametrize("direction", [V6_TO_V4, V4_TO_V6])
@given(
    steps=st.lists(st.tuples(st.booleans(), PIECES, st.booleans(), st.booleans()), max_size=30),
)
def test_it_goes_on_wherever_it_stopped(
    direction: Direction, steps: list[tuple[bool, bytes, bool, bool]]
) -> None:
    stays, goes = new_translator(direction), new_translator(direction)
    for client, data, urgent, yes in steps:
        fed = FromClient(data, urgent) if client else FromServer(data)
        goes = moved(goes, direction)
        events = fed.feed(stays)
        assert fed.feed(goes) == events
        while wants_listener(events):
            answer = Listening(4321) if yes else Refused("none")
            goes = moved(goes, direction)
            events = answer.feed(stays)
            assert answer.feed(goes) == events
    assert goes.state() == stays.state()


def wants_listener(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], OpenActive | OpenPassive)
