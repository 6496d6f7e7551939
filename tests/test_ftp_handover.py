"""A translator that goes on in another process: no difference to be seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.ftp import (
    V4_TO_V6,
    V6_TO_V4,
    Event,
    OpenActive,
    OpenPassive,
    ToClient,
    ToServer,
)
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
    goes = moved(goes, direction)
    assert goes.overdue() == stays.overdue()
    assert goes.client_ended() == stays.client_ended()
    goes = moved(goes, direction)
    assert goes.server_ended() == stays.server_ended()
    assert goes.state() == stays.state()


def wants_listener(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], OpenActive | OpenPassive)


REPLIES = b"220 Hello\r\n227-Entering\r\n 227 (1,2,3,4,5,6)\r\n227 (192,0,2,21,237,19)\r\n"


@pytest.mark.parametrize("place", range(len(REPLIES)))
def test_anywhere_in_a_reply_that_tells_a_port(place: int) -> None:
    translator = new_translator()
    translator.from_client(b"EPSV\r\nPWD\r\n")
    events = translator.from_server(REPLIES[:place])
    translator = moved(translator, V6_TO_V4)
    events += translator.from_server(REPLIES[place:])
    assert events[1:] == [OpenPassive(1, 60691)]
    translator = moved(translator, V6_TO_V4)
    assert translator.listening(4321) == [
        ToClient(b"229 Entering Extended Passive Mode (|||4321|)\r\n"),
        ToServer(b"PWD\r\n"),
    ]


@pytest.mark.parametrize("heard", [b"226 Done\r\n", b"226 Done\r\n200 ok\r\n"])
def test_while_a_reply_is_in_doubt(heard: bytes) -> None:
    """To a NOOP during a transfer."""
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(b"RETR a\r\n")
    translator.from_server(b"150 a\r\n")
    translator.from_client(b"NOOP\r\n")
    translator = moved(translator, V6_TO_V4)
    translator.from_server(heard)
    translator = moved(translator, V6_TO_V4)
    translator.from_client(b"EPSV ALL\r\n")
    translator = moved(translator, V6_TO_V4)
    assert translator.from_server(b"200 ok\r\n") == [
        ToClient(b"504 Command not implemented for that parameter\r\n")
    ]


def test_from_a_program_that_knew_of_no_ends_and_doubts() -> None:
    translator = new_translator()
    translator.from_server(b"220 Hello\r\n")
    translator.from_client(b"RETR a\r\nEPSV\r\n")
    translator.from_server(b"150 a\r\n22")
    state = json.loads(json.dumps(translator.state()))
    for new in ("passed", "ports_owed", "too_late"):
        del state[new]
    for name, length in (("client", 8), ("server", 8), ("replies", 3), ("debt", 3)):
        del state[name][length:]
    before, translator = translator, new_translator()
    translator.restore(state)
    for reply in (b"6 Done\r\n", b"227 (192,0,2,21,237,19)\r\n"):
        assert translator.from_server(reply) == before.from_server(reply)
