"""Clients of SOCKS that send anything, in any pieces, to whichever process."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faith.proxy.proxy_events import (
    Associate,
    Bind,
    CheckUser,
    Dial,
    Event,
    HangUp,
    Refused,
    ToClient,
    Tunnel,
)
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5
from faith.translation import reasons
from tests.proxy import socks_octets as socks

if TYPE_CHECKING:
    from faith.proxy.socks_session import SocksSession

ADDRESS = b"\x01\xc0\x00\x02\x50"
RULES = [
    ProxyRules(),
    ProxyRules(needs_user=True),
    ProxyRules(bind=False, associate=False, methods=frozenset({"socks5"})),
]
MESSAGES = [
    socks.methods(0),
    socks.methods(2),
    socks.methods(0, 1, 2),
    socks.password(b"me", b"secret"),
    socks.password(b"", b""),
    socks.request(1, ADDRESS, 80),
    socks.request(2, ADDRESS, 80),
    socks.request(3, ADDRESS, 0),
    socks.request(1, socks.name(b"example.org"), 443),
    socks.request(1, b"\x04" + bytes(15) + b"\x01", 443),
    socks.request4(1, b"\xc0\x00\x02\x50", 80, b"me"),
    socks.request4(1, b"\0\0\0\x01", 80) + b"example.org\0",
    socks.request4(2, b"\xc0\x00\x02\x50", 80),
    b"GET / HTTP/1.1\r\n\r\n",
]
BOUND = ("192.0.2.1", 40000)

streams = st.lists(
    st.one_of(st.sampled_from(MESSAGES), st.sampled_from(MESSAGES), st.binary(max_size=12)),
    max_size=5,
).map(b"".join)
both = pytest.mark.parametrize("kind", [Socks5, Socks4])
rules = st.sampled_from(RULES)
thorough = settings(max_examples=300, deadline=None)


def answered(machine: SocksSession, events: list[Event]) -> list[Event]:
    """*events*, and what follows when everything that they ask for succeeds."""
    while events:
        match events[-1]:
            case CheckUser(name):
                assert isinstance(machine, Socks5)
                events += machine.user_checked(name == "me")
            case Bind():
                events += machine.connected(BOUND)
                events += machine.accepted(BOUND)
            case Dial() | Associate():
                events += machine.connected(BOUND)
            case _:
                break
    return events


def pieces(octets: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[start:end] for start, end in pairwise(bounds)]


def in_order(events: list[Event]) -> list[Event]:
    """*events*, with what the client is sent joined; what comes for a tunnel later is put there."""
    joined: list[Event] = []
    for event in events:
        if isinstance(event, ToClient) and joined and isinstance(joined[-1], ToClient):
            joined[-1] = ToClient(joined[-1].data + event.data)
        else:
            joined.append(event)
    return joined


def all_of(kind: type[SocksSession], by: ProxyRules, parts: list[bytes], *, moves: bool) -> object:
    """What comes of *parts*, with those behind a tunnel in it; *moves* to another process often."""
    machine = kind(by)  # type: ignore[call-arg]
    events: list[Event] = []
    for part in parts:
        if events and isinstance(events[-1], Tunnel):
            events[-1] = Tunnel(events[-1].early + part)
            continue
        if moves:
            state = json.loads(json.dumps(machine.state()))
            machine = kind(by)  # type: ignore[call-arg]
            machine.restore(state)
        events += answered(machine, machine.from_client(part))
    return in_order(events), machine.wants_client, machine.client_ended()


@both
@given(octets=streams, by=rules, places=st.lists(st.integers(0, 400), max_size=8))
@example(octets=MESSAGES[0] + MESSAGES[5] + b"more", by=RULES[0], places=[2, 3, 12])
@thorough
def test_any_cut_comes_to_the_same(
    kind: type[SocksSession], octets: bytes, by: ProxyRules, places: list[int]
) -> None:
    whole = all_of(kind, by, [octets], moves=False)
    assert all_of(kind, by, pieces(octets, places), moves=False) == whole
    assert all_of(kind, by, pieces(octets, places), moves=True) == whole


@both
@given(octets=streams, by=rules)
@settings(max_examples=60, deadline=None)
def test_octet_by_octet_and_process_by_process(
    kind: type[SocksSession], octets: bytes, by: ProxyRules
) -> None:
    parts = [bytes((octet,)) for octet in octets]
    assert all_of(kind, by, parts, moves=True) == all_of(kind, by, [octets], moves=False)


@both
@given(parts=st.lists(streams, max_size=8), by=rules)
@thorough
def test_nothing_is_kept_beyond_the_greatest_request(
    kind: type[SocksSession], parts: list[bytes], by: ProxyRules
) -> None:
    machine = kind(by)  # type: ignore[call-arg]
    for part in parts:
        if not machine.wants_client:
            break
        events = answered(machine, machine.from_client(part))
        assert len(machine.buffer) <= 1 + 255 + 1 + 255 + 8 + len(part)
        if events and isinstance(events[-1], HangUp | Tunnel):
            assert len(machine.buffer) == 0
            assert not machine.wants_client


@both
def test_the_server_is_not_read_before_the_tunnel(kind: type[SocksSession]) -> None:
    assert not kind(RULES[0]).wants_server  # type: ignore[call-arg]


@both
def test_a_failed_request_ends_the_client_once(kind: type[SocksSession]) -> None:
    machine = kind(RULES[0])  # type: ignore[call-arg]
    octets = MESSAGES[0] + MESSAGES[5] if kind is Socks5 else MESSAGES[10]
    assert isinstance(machine.from_client(octets)[-1], Dial)
    assert machine.failed(reasons.REFUSED)[-1] == HangUp(reasons.REFUSED)
    assert machine.client_ended() == []
    assert machine.from_client(octets) == []


@both
def test_a_client_that_does_not_ask_in_time(kind: type[Socks5] | type[Socks4]) -> None:
    machine = kind(RULES[0])
    assert machine.awaits_request
    assert not machine.is_idle
    why = reasons.GREETING
    assert machine.overdue() == [Refused(None, why, machine.method), HangUp(why)]
    assert machine.overdue() == []
    assert not machine.awaits_request
