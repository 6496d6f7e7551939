"""Arbitrary octets, both ways, in any pieces: nothing raises, grows, or gets past the ALG."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faith.ftp import (
    V4_TO_V6,
    V6_TO_V4,
    Event,
    GoTransparent,
    Hangup,
    OpenActive,
    OpenPassive,
    ToServer,
)
from faith.ftp.telnet import LIMIT
from tests.ftp_playbook import FromClient, FromServer, joined, new_translator

if TYPE_CHECKING:
    from faith.ftp import Direction, Translator

CHUNK = 3000

LINES = [
    b"USER a\r\n",
    b"RETR b\n",
    b"EPSV\r\n",
    b"epsv 2\r\n",
    b"EPSV 1\r\n",
    b"EPSV ALL\r\n",
    b"LPSV\r\n",
    b"PASV\r\n",
    b"PORT 198,51,100,7,20,162\r\n",
    b"PORT 10,0,0,1,0,22\r\n",
    b"EPRT |2|2001:db8:2::31|5282|\r\n",
    b"EPRT |1|198.51.100.7|5282|\r\n",
    b"LPRT 4,4,198,51,100,7,2,20,162\r\n",
    b"ALGS DISABLE64\r\n",
    b"ALGS ENABLE64\r\n",
    b"FEAT\r\n",
    b"REIN\r\n",
    b"ABOR\r\n",
    b"AUTH TLS\r\n",
    b"200 Good\r\n",
    b"150 Now\r\n",
    b"226 Done\r\n",
    b"227 (192,0,2,21,237,19)\r\n",
    b"227 (192,0,2,21,237,19,1)\r\n",
    b"229 (|||60691|)\r\n",
    b"211-Features\r\n EPSV\r\n PASV\r\n211 End\r\n",
    b"234 Go on\r\n",
    b"500 What?\r\n",
    b"530-Not\r\n530 yet\r\n",
    b"230-Hello\r\n",
    b"231 In\r\n",
    b"200\tok\r\n",
    b"NOOP\r\n",
]
SCRAPS = [
    *(b"\xff" + bytes([code]) for code in range(240, 256)),
    b"\xff\xfd\x18",
    b"\xff\xfa\x18\xff\xf0",
    b"\xff",
    b"\r\0\n",
    b"\0",
    b"\r",
    b"\n",
    b"PORT 10,0,0,1,0,22",
]

fragments = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from(LINES),
    st.sampled_from(SCRAPS),
    st.binary(max_size=20),
    st.builds(
        lambda octet, times: octet * times, st.binary(min_size=1, max_size=1), st.just(CHUNK)
    ),
)
streams = st.lists(fragments, max_size=6).map(b"".join)
feeds = st.one_of(
    st.builds(FromClient, streams, st.booleans()),
    st.builds(FromServer, streams),
)
directions = pytest.mark.parametrize(
    "direction", [V6_TO_V4, V4_TO_V6], ids=["IPv6 to IPv4", "IPv4 to IPv6"]
)
thorough = settings(max_examples=150, deadline=None)


def answered(translator: Translator, events: list[Event]) -> list[Event]:
    """*events*, and what follows when the listeners that they ask for are made, or some are not."""
    while events and isinstance(events[-1], OpenPassive | OpenActive):
        wanted = events[-1]
        if wanted.listener % 3:
            events += translator.listening(2000 + wanted.listener)
        else:
            events += translator.refused("every third is")
    return events


def all_of(direction: Direction, script: list[FromClient | FromServer]) -> list[Event]:
    """What comes of *script*, and of the ends of both streams."""
    translator = new_translator(direction)
    events = [event for fed in script for event in answered(translator, fed.feed(translator))]
    events += answered(translator, translator.client_ended())
    return events + answered(translator, translator.server_ended())


def in_order(events: list[Event]) -> list[Event]:
    """*events* with neighbours joined; the end of translation is the last, as it is of each call.

    What came with the reply that ends it is passed on before, and what comes later after it.
    """
    ends = [event for event in events if isinstance(event, GoTransparent)]
    return [*joined([event for event in events if event not in ends]), *ends]


def cut(fed: FromClient | FromServer, places: list[int]) -> list[FromClient | FromServer]:
    """*fed* in pieces; what was urgent of it is the last octet still."""
    bounds = [0, *sorted({place % (len(fed.data) + 1) for place in places}), len(fed.data)]
    pieces = [fed.data[start:end] for start, end in itertools.pairwise(bounds)]
    if isinstance(fed, FromServer):
        return [FromServer(piece) for piece in pieces]
    last = max((number for number, piece in enumerate(pieces) if piece), default=0)
    return [FromClient(piece, fed.urgent and n == last) for n, piece in enumerate(pieces)]


@directions
@given(script=st.lists(feeds, max_size=12), places=st.lists(st.integers(0, CHUNK), max_size=6))
@example(
    script=[
        FromClient(b"EPSV\r\nEPSV ALL\r\n"),
        FromServer(b"220 Hello\r\n227 (192,0,2,21,237,19)\r\n200 Good\r\n"),
    ],
    places=[len(b"220 Hello\r\n227 (192,0,2,21,237,19)\r\n")],
)
@example(
    script=[FromClient(b"AUTH TLS\r\n"), FromServer(b"234 Go on\r\nUSER a\r\nUSER a\r\n")],
    places=[len(b"234 Go on\r\n")],
)
@thorough
def test_any_split_comes_to_the_same(
    direction: Direction, script: list[FromClient | FromServer], places: list[int]
) -> None:
    pieces = [piece for fed in script for piece in cut(fed, places)]
    assert in_order(all_of(direction, pieces)) == in_order(all_of(direction, script))


@directions
@given(st.lists(feeds, max_size=6))
@settings(max_examples=25, deadline=None)
def test_octet_by_octet(direction: Direction, script: list[FromClient | FromServer]) -> None:
    pieces = [piece for fed in script for piece in cut(fed, [*range(len(fed.data))])]
    assert in_order(all_of(direction, pieces)) == in_order(all_of(direction, script))


@directions
@given(st.lists(feeds, max_size=30))
@thorough
def test_nothing_is_kept_beyond_the_bound(
    direction: Direction, script: list[FromClient | FromServer]
) -> None:
    translator = new_translator(direction)
    over = False
    for fed in script:
        from_client = isinstance(fed, FromClient)
        for start in range(0, len(fed.data), CHUNK):
            if not (translator.wants_client if from_client else translator.wants_server):
                break
            chunk = fed.data[start : start + CHUNK]
            feed = translator.from_client if from_client else translator.from_server
            events = answered(translator, feed(chunk))
            assert not over or events == []
            over = over or Hangup() in events
            assert translator.held < 2 * (LIMIT + CHUNK)


@directions
@given(st.lists(feeds, max_size=12))
@thorough
def test_nothing_is_kept_of_what_has_ended(
    direction: Direction, script: list[FromClient | FromServer]
) -> None:
    translator = new_translator(direction)
    for fed in script:
        answered(translator, fed.feed(translator))
    answered(translator, translator.server_ended())
    answered(translator, translator.client_ended())
    assert translator.server_is_through or not translator.wants_server
    assert translator.client_is_through or not translator.wants_client
    answered(translator, translator.overdue())
    assert not translator.doubts


def as_a_server_of_bsd(octets: bytes) -> list[bytes]:
    """The commands that a server finds who drops what follows an IAC, and what follows a NUL."""
    text = re.sub(rb"\xff(?:[\xfb-\xfe].|[^\xff]|(\xff))", rb"\1", octets, flags=re.DOTALL)
    return [line.partition(b"\0")[0].strip() for line in text.split(b"\n")]


@directions
@given(st.lists(feeds, max_size=12))
@thorough
def test_no_command_about_a_port_but_the_algs_own(
    direction: Direction, script: list[FromClient | FromServer]
) -> None:
    translator = new_translator(direction)
    sent = b""
    for fed in script:
        if not re.search(rb"AUTH|DISABLE", fed.data, re.IGNORECASE):
            events = answered(translator, fed.feed(translator))
            sent += b"".join(event.data for event in events if isinstance(event, ToServer))
    about_ports = re.compile(rb"(?:PASV|PORT|EPSV|EPRT|LPSV|LPRT)(?:\s.*)?", re.IGNORECASE)
    own = (
        re.compile(rb"PASV|PORT 192,0,2,31,\d+,\d+")
        if direction is V6_TO_V4
        else re.compile(rb"EPSV|EPRT \|2\|2001:db8:2::31\|\d+\|")
    )
    for command in as_a_server_of_bsd(sent):
        assert not about_ports.fullmatch(command) or own.fullmatch(command)
