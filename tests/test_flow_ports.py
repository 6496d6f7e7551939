"""Source ports of flows: by a state machine that keeps its own books, and by simulation."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faith.translation.flow_ports import TRIES, FlowPorts, PortPool
from faith.translation.ports import Ports

SOURCE, OTHER_SOURCE = b"\xc6\x33\x64\x09", b"\xc6\x33\x64\x0a"
SERVERS = [bytes([192, 0, 2, n]) for n in range(3)]
HTTP = b"\0\x50"
MOST = 4096


def endpoint(server: int = 0, source: bytes = SOURCE) -> bytes:
    return SERVERS[server] + source + HTTP


def pool(first: int = 1024, last: int = 65535) -> PortPool:
    return PortPool(Ports([(first, last)]))


def port_of(key: bytes | None) -> int:
    assert key is not None
    return int.from_bytes(key[10:], "big")


def opened(ports: FlowPorts, of: PortPool, count: int, server: int = 0) -> list[bytes]:
    """So many connections, one after the other."""
    found = []
    for holder in range(count):
        key = ports.choose(of, endpoint(server))
        assert key is not None
        assert key not in ports.holders
        ports.take(key, holder)
        found.append(key)
    return found


def test_ports_are_given_in_turn_from_a_random_one_on() -> None:
    ports = FlowPorts(start=lambda most: most - 2)
    found = [port_of(key) for key in opened(ports, pool(), 4)]
    assert found == [65534, 65535, 1024, 1025]


def test_a_port_serves_many_servers_at_once() -> None:
    ports, of = FlowPorts(random.randrange), pool(61000, 61000)
    keys = [key for n in range(3) for key in opened(ports, of, 1, server=n)]
    assert {port_of(key) for key in keys} == {61000}
    assert len(set(keys)) == 3


def test_every_source_has_its_own_turn() -> None:
    ports, of = FlowPorts(start=lambda most: 0), pool()
    opened(ports, of, 3)
    assert port_of(ports.choose(of, endpoint(source=OTHER_SOURCE))) == 1024


def test_a_pool_of_several_ranges_gives_each_of_its_ports() -> None:
    of = PortPool(Ports([(2000, 2001), (4000, 4000)]))
    assert {port_of(key) for key in opened(FlowPorts(random.randrange), of, 3)} == {
        2000,
        2001,
        4000,
    }
    assert [of.position(port) for port in (2000, 2001, 4000, 3000, 65535)] == [0, 1, 2, -1, -1]


@pytest.mark.parametrize("size", [1, 5, TRIES, TRIES + 1, 1000])
def test_each_port_is_given_once_and_then_the_one_that_rests_longest(size: int) -> None:
    ports, of = FlowPorts(random.randrange), pool(61000, 60999 + size)
    keys = opened(ports, of, size)
    assert len(set(keys)) == size
    assert ports.choose(of, endpoint()) is None
    order = keys[::2] + keys[1::2]
    for now, key in enumerate(order):
        ports.rest(key, now)
    for key in order:
        assert ports.choose(of, endpoint()) == key
        ports.give_back(key)
        ports.take(key, 0)
    assert ports.choose(of, endpoint()) is None


def test_a_port_given_back_is_the_last_to_be_given_again() -> None:
    ports, of = FlowPorts(random.randrange), pool(61000, 61199)
    first, *_ = opened(ports, of, 150)
    ports.give_back(first)
    later = opened(ports, of, 51)
    assert later[-1] == first


def test_a_client_that_comes_again_wakes_its_port() -> None:
    ports, of = FlowPorts(random.randrange), pool(61000, 61079)
    keys = opened(ports, of, 80)
    assert ports.choose(of, endpoint()) is None
    ports.rest(keys[3], 1)
    ports.wake(keys[3])
    assert ports.choose(of, endpoint()) is None
    assert keys[3] in ports.holders


def test_ports_have_rested_in_the_order_of_their_ends() -> None:
    ports = FlowPorts(random.randrange)
    keys = opened(ports, pool(), 4)
    for now, key in enumerate(keys):
        ports.rest(key, now)
    assert list(ports.rested(2)) == keys[:3]
    assert list(ports.rested(-1)) == []


def test_a_crowd_of_one_server_leaves_no_trace_when_it_is_gone() -> None:
    ports, of = FlowPorts(start=lambda most: 0), pool(61000, 61999)
    keys = opened(ports, of, 1000)
    assert ports._crowds == {}
    assert ports.choose(of, endpoint()) is None
    assert list(ports._crowds) == [endpoint()]
    for key in keys:
        ports.give_back(key)
    assert ports._crowds == {}
    assert ports.holders == ports.resting == {}


def test_another_pool_of_the_same_source_is_searched_anew() -> None:
    ports, small, large = FlowPorts(random.randrange), pool(61000, 61099), pool(61000, 61199)
    opened(ports, small, 100)
    assert ports.choose(small, endpoint()) is None
    assert 61100 <= port_of(ports.choose(large, endpoint())) <= 61199


def test_a_port_rests_as_long_as_the_pool_allows() -> None:
    """Short connections, one at a time: each of 500 ports is used before one is used again."""
    ports, of = FlowPorts(random.randrange), pool(61000, 61499)
    used: dict[bytes, int] = {}
    gaps = []
    for now in range(5000):
        key = ports.choose(of, endpoint())
        assert key is not None
        if key in ports.holders:
            ports.give_back(key)
        if key in used:
            gaps.append(now - used[key])
        used[key] = now
        ports.take(key, now)
        ports.rest(key, now)
    assert min(gaps) == max(gaps) == 500


@given(st.sets(st.integers(1, 65535), min_size=1, max_size=30), st.integers(0, 65535))
def test_positions_are_those_of_the_ports(ports: set[int], other: int) -> None:
    of = PortPool(Ports([(port, port) for port in ports]))
    for at, port in enumerate(sorted(ports)):
        assert of.position(port) == at
    assert (of.position(other) >= 0) == (other in ports)


class Books(RuleBasedStateMachine):
    """Flows to three servers by a pool of 100 ports; *living* and *resting* are kept beside."""

    def __init__(self) -> None:
        super().__init__()
        self.ports, self.pool = FlowPorts(random.randrange), pool(61000, 61099)
        self.living: dict[bytes, int] = {}
        self.resting: list[bytes] = []
        self.clock = itertools.count()

    @rule(server=st.integers(0, 2), count=st.integers(1, 60))
    def open(self, server: int, count: int) -> None:
        for _ in range(count):
            ours = [key for key in self.resting if key.startswith(endpoint(server))]
            busy = [key for key in self.living if key.startswith(endpoint(server))]
            key = self.ports.choose(self.pool, endpoint(server))
            if len(busy) == 100:
                assert key is None
                return
            assert key is not None
            assert key not in self.living
            if len(busy) + len(ours) == 100:
                assert key == ours[0]
            if key in self.resting:
                assert len(busy) + len(ours) == 100
                self.resting.remove(key)
                self.ports.give_back(key)
            self.living[key] = next(self.clock)
            self.ports.take(key, self.living[key])

    @precondition(lambda self: self.living)
    @rule(data=st.data(), count=st.integers(1, 60))
    def close(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.living))):
            key = data.draw(st.sampled_from(sorted(self.living)))
            del self.living[key]
            self.resting.append(key)
            self.ports.rest(key, next(self.clock))

    @precondition(lambda self: self.resting)
    @rule(count=st.integers(1, 60))
    def rested(self, count: int) -> None:
        some = [*itertools.islice(self.ports.rested(next(self.clock)), count)]
        assert some == self.resting[: len(some)]
        for key in some:
            self.resting.remove(key)
            self.ports.give_back(key)

    @precondition(lambda self: self.resting)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.resting))
        self.resting.remove(key)
        self.ports.wake(key)
        self.living[key] = self.ports.holders[key]

    @invariant()
    def agree(self) -> None:
        assert self.ports.holders.keys() == self.living.keys() | set(self.resting)
        assert list(self.ports.resting) == self.resting
        for crowd in self.ports._crowds.values():
            assert crowd.count == sum(crowd.busy)
            held = sum(key.startswith(crowd.endpoint) for key in self.ports.holders)
            assert crowd.count == held


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
