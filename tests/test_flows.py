from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.daemon.observe.own_numbers import NO_LIMIT
from faith.errors import ConfigError
from faith.translation.reasons import CLIENT_FLOWS, FLOWS
from faith.translation.udp.flows import ENDPOINT, LOOK, Flow, Flows, UdpSettings

ALICE, BOB = 1 << 64, 2 << 64
DNS, OTHER = 53, 4500
numbers = itertools.count()
SERVER, STRANGER = 10, 11


def flow_of(flows: Flows, owner: int = ALICE, port: int = OTHER, now: float = 0.0) -> Flow:
    flow = Flow((owner, next(numbers)), owner, None)
    flows.add(flow)
    flows.touch(flow, SERVER, port, now)
    return flow


def test_a_flow_lasts_for_its_time_after_the_last_datagram() -> None:
    flows = Flows(UdpSettings())
    flow = flow_of(flows)
    assert flows.expire(299.0 + LOOK) == []
    flows.touch(flow, SERVER, OTHER, 299.0)
    assert flows.expire(598.0 + LOOK) == []
    assert flows.find(flow.key) is flow
    assert flows.expire(599.0 + LOOK) == [flow]
    assert flows.find(flow.key) is None
    assert flow.ended


def test_one_question_has_a_short_time_but_not_among_others() -> None:
    flows = Flows(UdpSettings())
    short, long = flow_of(flows, port=DNS), flow_of(flows, port=DNS)
    flows.touch(long, SERVER, OTHER, 1.0)
    flows.touch(long, SERVER, DNS, 2.0)
    assert flows.expire(10.0 + LOOK) == [short]
    assert flows.expire(300.9 + LOOK) == []
    assert flows.expire(301.0 + LOOK) == [long]


def test_only_who_was_sent_to_is_let_in() -> None:
    flows = Flows(UdpSettings())
    flow = flow_of(flows)
    assert flows.lets_in(flow, SERVER, 1.0)
    assert not flows.lets_in(flow, STRANGER, 1.0)
    assert not flows.lets_in(flow, SERVER, 300.0 + LOOK)
    flows.settings = UdpSettings(filtering=ENDPOINT)
    assert flows.lets_in(flow, STRANGER, 1.0)


def test_limits_are_of_one_client_and_of_all() -> None:
    flows = Flows(UdpSettings(flows=3, flows_per_client=2))
    flow_of(flows)
    assert flows.refuses(ALICE) is None
    flow_of(flows)
    assert flows.refuses(ALICE) == CLIENT_FLOWS
    assert flows.refuses(BOB) is None
    flow_of(flows, BOB)
    assert flows.refuses(BOB) == FLOWS
    flows.expire(300.0 + LOOK)
    assert flows.refuses(ALICE) is None


def test_a_crowd_leaves_a_place_for_who_has_none() -> None:
    """As 32 networks that send one datagram from each of their ports."""
    flows = Flows(UdpSettings())
    crowd = [number << 64 for number in range(4, 36)]
    for one in crowd:
        while flows.refuses(one) is None or flows.make_room(one):
            flow_of(flows, one)
    assert len(flows) == flows.settings.flows
    assert flows.refuses(BOB) == FLOWS
    for _ in range(100):
        ended = flows.make_room(BOB)
        assert ended
        assert ended.ended
        assert ended.address in crowd
        flow_of(flows, BOB)
    for one in crowd:  # none of them can take that back
        for _ in range(100):
            ended = flows.make_room(one)
            assert ended is None or ended.address != BOB
            if ended:
                flow_of(flows, one)
    assert sum(flow.address == BOB for flow in flows) == 100


def test_the_fill_counts_flows_and_places() -> None:
    flows = Flows(UdpSettings(flows=4))
    assert flows.fill() == (0, 4)
    flow_of(flows, 1 << 64)
    assert flows.fill() == (1, 4)
    assert Flows(UdpSettings(flows=0)).fill()[1] >= NO_LIMIT


def test_where_all_have_the_same_nobody_is_ended() -> None:
    flows = Flows(UdpSettings(flows=4))
    for number in range(4):
        flow_of(flows, number << 64)
    assert flows.make_room(9 << 64) is None
    assert flows.refuses(9 << 64) == FLOWS


def test_a_client_is_a_network_of_the_configured_length() -> None:
    flows = Flows(UdpSettings(flows_per_client=2))
    for host in range(2):
        flow_of(flows, ALICE | host)
    assert flows.refuses(ALICE | 7) == CLIENT_FLOWS
    flows.settings = UdpSettings(flows_per_client=2, client_length=128)
    assert flows.refuses(ALICE | 7) is None


def test_without_limits_there_are_none() -> None:
    flows = Flows(UdpSettings(flows=0, flows_per_client=0))
    for _ in range(2000):
        flow_of(flows)
    assert flows.refuses(ALICE) is None


def test_who_sends_to_everybody_takes_no_more_memory_for_ever() -> None:
    flows = Flows(UdpSettings())
    flow = flow_of(flows)
    for peer in range(100_000):
        flows.touch(flow, peer, OTHER, 1.0)
    assert len(flow.peers) <= 4096
    assert flows.lets_in(flow, 99_999, 2.0)


def test_peers_of_all_flows_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faith.translation.udp.flows._MOST_PEERS_OF_ALL", 1000)
    flows = Flows(UdpSettings())
    every = [flow_of(flows) for _ in range(10)]
    for peer in range(2000):
        for flow in every:
            flows.touch(flow, peer, OTHER, 1.0)
    assert sum(len(flow.peers) for flow in every) < 2000
    assert all(flows.lets_in(flow, 1999, 2.0) for flow in every)
    flows.take(10)
    alone = flow_of(flows, BOB)
    for peer in range(900):
        flows.touch(alone, peer, OTHER, 1.0)
    assert len(alone.peers) >= 900


def test_who_was_sent_to_last_is_remembered() -> None:
    flows = Flows(UdpSettings())
    flow = flow_of(flows)
    for peer in range(100, 20_000):
        flows.touch(flow, peer, OTHER, peer / 1000)
        flows.touch(flow, SERVER, OTHER, peer / 1000)
    assert flows.lets_in(flow, SERVER, 20.0)


def test_what_is_taken_away_ends_here() -> None:
    flows = Flows(UdpSettings(flows_per_client=2))
    first, second = flow_of(flows), flow_of(flows)
    assert flows.take(1) == [first]
    assert flows.take(9) == [second]
    assert flows.refuses(ALICE) is None
    assert flows.expire(1000.0) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"idle": 119.0}, "idle: must be at least 120 seconds"),
        ({"short": 0.0}, "short: "),
        ({"mtu": 1279}, "mtu: must be from 1280 to 65535"),
    ],
)
def test_settings_that_no_rfc_allows_are_refused(words: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        UdpSettings(**words)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([DNS, OTHER]), st.floats(0, 200)),
        max_size=40,
    )
)
def test_a_flow_is_there_for_exactly_as_long_as_its_datagrams_say(
    sent: list[tuple[int, int, float]],
) -> None:
    """Against the plainest model: the latest of all times that datagrams ask for."""
    settings = UdpSettings()
    flows = Flows(settings)
    due: dict[int, float] = {}
    now = 0.0
    for number, port, pause in sent:
        now += pause
        ended = {flow.key[0] for flow in flows.expire(now)}
        over = {one for one, until in due.items() if until <= now}
        assert ended == over
        for one in over:
            del due[one]
        flow = flows.find((number,))
        assert (flow is not None) == (number in due)
        due[number] = max(due.get(number, 0.0), now + LOOK + settings.lifetime(port))
        if flow is None:
            flow = Flow((number,), ALICE, None)
            flows.add(flow)
        flows.touch(flow, SERVER, port, now)
    assert len(flows) == len(due)


def test_flows_that_end_early_are_not_kept_until_their_time() -> None:
    flows = Flows(UdpSettings())
    kept = flow_of(flows)
    for _ in range(5000):
        flows.remove(flow_of(flows))
    assert len(flows._ends) < 2000
    assert flows.expire(300.0 + LOOK) == [kept]
