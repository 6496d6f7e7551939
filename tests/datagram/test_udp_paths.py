from __future__ import annotations

import socket
from typing import Any

import pytest

from faith.datagram.udp.paths import ForwardPath, ReturnPath, V6ToV4Ends, key_v6
from faith.translation.prefix import Prefix
from faith.translation.udp.flows import Flow
from tests.datagram.wires import Wire, number

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("64:ff9b::/96")
CLIENT = "fe80::2"
SERVER, SOURCE = "192.0.2.80", "198.51.100.7"


def held(source: str | None = None, port: int = 4000) -> V6ToV4Ends:
    wire: Any = Wire(port)
    return V6ToV4Ends(wire, None if source is None else number(source), (CLIENT, 7000, 3), PREFIX)


def flow(source: str | None = None) -> Flow:
    return Flow((1,), 1, held(source))


def test_flows_are_told_apart_by_all_that_makes_them_different() -> None:
    client = number(CLIENT)
    keys = [
        key_v6((client, 7), 0, PREFIX, None),
        key_v6((client + 1, 7), 0, PREFIX, None),
        key_v6((client, 8), 0, PREFIX, None),
        key_v6((client, 7), 1, PREFIX, None),
        key_v6((client, 7), 0, OTHER, None),
        key_v6((client, 7), 0, PREFIX, 0),
        key_v6((client, 7), 0, PREFIX, number(SOURCE)),
    ]
    assert len(set(keys)) == len(keys)
    assert key_v6((client, 7), 0, PREFIX, None) == keys[0]
    assert all(key[0] == client for key in keys[2:])  # as Flow wants it


def test_the_way_back_comes_from_the_servers_mapped_address_to_the_client() -> None:
    back = ReturnPath((SERVER, 53), held())
    assert back.peer == number(SERVER)
    ((level, kind, info),) = back.control
    assert (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    assert info[:16] == PREFIX.map(number(SERVER)).to_bytes(16, "big")
    assert back.to == (CLIENT, 0, 0, 3)


@pytest.mark.parametrize(("source", "seen"), [(None, SERVER), (SOURCE, SOURCE)])
def test_what_goes_to_ourselves_is_seen_from_the_flows_address(
    source: str | None, seen: str
) -> None:
    way = ForwardPath(flow(source), number(SERVER), (SERVER, 53), None)
    assert way.seen_as == (seen, 4000)


def test_a_way_ends_with_its_flow_or_with_its_twin() -> None:
    one, twin = flow(), flow()
    alone, paired = (ForwardPath(one, 1, (SERVER, 53), other) for other in (None, twin))
    assert not alone.ended
    assert not paired.ended
    twin.ended = True
    assert not alone.ended
    assert paired.ended
    one.ended = True
    assert alone.ended
