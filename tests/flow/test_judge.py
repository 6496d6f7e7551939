from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import Any

import pytest

from faith.datagram.icmp import NO_ROUTE_V6, PROHIBITED_V6
from faith.flow.judge import Judge, Judgement, ways
from faith.flow.route_cache import NoRoute, RouteTo
from faith.translation.ports import Ports
from tests.flow.stand import CLIENT, MAPPED, SERVER, Routes, octets, policy, settings

POOL = [f"203.0.113.{n}" for n in range(1, 5)]


def judge(*rules: str, **changed: Any) -> tuple[Judge, Routes]:
    routes = Routes()
    return Judge(policy(*rules), settings(**changed), routes), routes


def judged(of: Judge, client: str = CLIENT, mapped: str = MAPPED, interface: int = 2) -> Judgement:
    return of.judge(octets(client) + octets(mapped), interface)


def numbers(*addresses: str) -> tuple[int, ...]:
    return tuple(int(ip_address(one)) for one in addresses)


def test_the_source_is_the_rules_before_the_settings_before_the_routes() -> None:
    with_rule, _ = judge("::/0 permit 0.0.0.0/0 203.0.113.6")
    assert judged(with_rule).source == octets("203.0.113.6")
    with_addresses, _ = judge(addresses=numbers("203.0.113.7"))
    assert judged(with_addresses).source == octets("203.0.113.7")
    without, routes = judge(addresses=())
    routes.told[SERVER] = RouteTo(4, 1400, octets("203.0.113.8"), False)
    assert judged(without).source == octets("203.0.113.8")


def test_only_addresses_of_their_own_have_all_ports() -> None:
    ports = {"address_ports": Ports([(2000, 2009)]), "shared_ports": Ports([(3000, 3004)])}
    own, _ = judge(**ports)
    assert [*judged(own).pool.ports] == [*range(2000, 2010)]
    shared, _ = judge("::/0 permit 0.0.0.0/0 203.0.113.6", **ports)
    assert [*judged(shared).pool.ports] == [*range(3000, 3005)]


def test_a_client_keeps_its_address_and_clients_are_spread() -> None:
    of, _ = judge(addresses=numbers(*POOL))
    found = [judged(of, f"2001:db8:{n:x}::1").source for n in range(400)]
    for address in POOL:
        assert 50 < found.count(octets(address)) < 150
    of.clear()
    assert [judged(of, f"2001:db8:{n:x}::2").source for n in range(400)] == found
    elsewhere = judged(of, mapped="2001:db8:ffff::192.0.2.1").source
    assert elsewhere == judged(of).source


def test_an_address_that_is_not_there_is_passed_over() -> None:
    of, routes = judge(addresses=numbers(*POOL))
    routes.absent = {*POOL[:3]}
    for n in range(20):
        assert judged(of, f"2001:db8:{n}::1").source == octets(POOL[3])
    routes.absent = {*POOL}
    routes.clear()
    of.clear()
    assert judged(of).refused == "no source"
    assert judged(of).error is None


def test_a_source_of_a_rule_that_is_not_there_is_none() -> None:
    of, routes = judge("::/0 permit 0.0.0.0/0 203.0.113.6")
    routes.absent = {"203.0.113.6"}
    assert judged(of).refused == "no source"
    of, _ = judge("::/0 permit 0.0.0.0/0 192.0.2.200")  # a route leads to it: it is another host
    assert judged(of).refused == "no source"


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENETUNREACH, NO_ROUTE_V6),
        (errno.EHOSTUNREACH, NO_ROUTE_V6),
        (errno.EACCES, PROHIBITED_V6),
    ],
)
def test_a_missing_route_is_told_as_the_kernel_tells_it(number: int, error: object) -> None:
    of, routes = judge()
    routes.told[SERVER] = NoRoute(number)
    assert (judged(of).refused, judged(of).error) == ("unreachable", error)


def test_a_client_without_a_way_back_is_refused() -> None:
    of, routes = judge()
    routes.told[CLIENT] = NoRoute(errno.ENETUNREACH)
    assert judged(of).refused == "unreachable"
    of, routes = judge()
    routes.told[CLIENT] = RouteTo(1, 65535, b"", True)
    assert judged(of).refused == "unreachable"


def test_policy_comes_before_routes() -> None:
    of, routes = judge("::/0 deny 0.0.0.0/0")
    assert judged(of).refused == "denied by a rule"
    assert routes.asked == []


def test_judgements_are_kept_until_something_changes() -> None:
    of, routes = judge()
    first = judged(of)
    assert judged(of) is first
    routes.asked.clear()
    of.settings = settings(mss=1000)
    assert judged(of).ways[4:] == (1000, 1000)
    assert routes.asked == []
    of.policy = policy("::/0 deny 0.0.0.0/0")
    of.clear()
    assert judged(of).refused == "denied by a rule"


def test_judgements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faith.flow.judge.MOST_JUDGEMENTS", 10)
    of, _ = judge()
    for n in range(35):
        judged(of, f"2001:db8:{n}::1")
    assert len(of._known) <= 10


def test_a_link_local_client_is_another_on_every_link() -> None:
    of, _ = judge()
    assert judged(of, "fe80::1", interface=5).ways[1] == 5
    assert judged(of, "fe80::1", interface=6).ways[1] == 6
    assert judged(of, interface=5) is judged(of, interface=6)


@pytest.mark.parametrize(
    ("mtu4", "mtu6", "most", "mss"),
    [
        (1500, 1500, 0, 1440),
        (1500, 9000, 0, 1460),
        (1280, 1500, 0, 1240),
        (1500, 1280, 0, 1220),
        (1500, 1500, 1220, 1220),
        (1500, 1500, 9000, 1440),
        (65535, 65535, 0, 65475),
        (68, 1500, 0, 88),
    ],
)
def test_the_mss_fits_both_ways(mtu4: int, mtu6: int, most: int, mss: int) -> None:
    found = ways(RouteTo(3, mtu4, b"", False), RouteTo(4, mtu6, b"", False), most)
    assert found == (3, 4, mtu4, mtu6, mss, mss)
