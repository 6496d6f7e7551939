"""Routes: what an address pair means, remembered until the policy changes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from faith.relay.tcp import routing
from faith.relay.tcp.routing import CLIENT as CLIENT_ADDRESS
from faith.relay.tcp.routing import EITHER, GATEWAY, Route, Routing
from faith.translation import reasons
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.map import Map
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.reasons import NO_PREFIX, NOT_MAPPED

CLIENT = "2001:db8:6::2"


NODE, MAPPED = "192.0.2.80", "192.0.2.102"
MAPS = Maps([Map((0xC0000266, 32), (0x20010DB8_00060000_00000000_00000009, 128))])


def policy(rules: str = "", maps: Maps = MAPS) -> Policy:
    prefixes = Prefixes([Prefix.parse("2001:db8:ffff::/96")])
    return Policy(prefixes, Networks(32), Access.parse(rules), maps)


def test_a_route_in_words() -> None:
    mapped = "2001:db8:ffff::c000:250"
    assert str(Route(mapped, "192.0.2.80")) == "relayed to 192.0.2.80"
    assert str(Route(mapped, refused=NOT_MAPPED)) == NOT_MAPPED
    assert str(Route(mapped, local=True)) == "one of the gateway's own addresses"


def test_the_sources_are_those_of_the_manual() -> None:
    assert routing.SOURCES == ("client", "gateway", "either")


def test_routes_are_remembered_up_to_a_number() -> None:
    wanted = policy()
    routes = Routing(wanted)
    assert routes.policy is wanted
    mapped = "2001:db8:ffff::c000:250"
    first = routes.find("2001:db8:7::", mapped, 80)
    for low in range(1, 8192):
        routes.find(f"2001:db8:7::{low:x}", mapped, 80)
    assert routes.find("2001:db8:7::", mapped, 80) is first
    routes.find("2001:db8:8::", mapped, 80)
    assert routes.find("2001:db8:7::", mapped, 80) is not first


def test_what_is_lent_is_not_remembered() -> None:
    lent = {int(ip_address("198.51.100.7")): 5}
    lending = policy()
    lending.leased_host = lent.get
    routes = Routing(lending)
    client, pooled = "192.0.2.9", "198.51.100.7"
    assert routes.find(client, pooled, 22).server == "::5"
    lent.clear()
    assert routes.find(client, pooled, 22).refused
    lent[int(ip_address(pooled))] = 6
    assert routes.find(client, pooled, 22).server == "::6"


def test_a_mapped_address_leads_to_its_server() -> None:
    route = Routing(policy()).find(CLIENT, "2001:db8:ffff::c000:250", 80)
    assert (route.server, route.source, route.refused, route.local) == (
        "192.0.2.80",
        None,
        None,
        False,
    )


def test_any_other_address_is_the_gateways_own() -> None:
    assert Routing(policy()).find(CLIENT, "2001:db8:6::1", 80).local


def test_a_link_local_client_has_a_zone() -> None:
    route = Routing(policy()).find("fe80::1%eth0", "2001:db8:ffff::c000:250", 80)
    assert route.server == "192.0.2.80"


def test_the_source_comes_from_the_rule() -> None:
    rules = "::/0 permit 0.0.0.0/0 198.51.100.7"
    assert (
        Routing(policy(rules)).find(CLIENT, "2001:db8:ffff::808:808", 80).source == "198.51.100.7"
    )


def test_a_new_policy_forgets_the_old_answers() -> None:
    routes = Routing(policy())
    assert routes.find(CLIENT, "2001:db8:ffff::808:808", 80).refused is None
    routes.policy = policy("::/0 deny 8.8.8.8")
    assert routes.find(CLIENT, "2001:db8:ffff::808:808", 80).refused == reasons.DENIED


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "REMEMBERED", 10)
    routes = Routing(policy())
    for number in range(100):
        routes.find(CLIENT, f"2001:db8:ffff::c000:{number:x}", 80)
        assert len(routes._routes) <= 10


def test_a_client_of_ipv4_goes_by_the_maps() -> None:
    routes = Routing(policy())
    route = routes.find(NODE, MAPPED, 22)
    assert (route.server, route.port, route.refused) == ("2001:db8:6::9", 22, None)
    assert (route.mapped, route.source) == (MAPPED, "2001:db8:ffff::c000:250")
    assert routes.find(NODE, MAPPED, 22) is route
    assert routes.find(NODE, MAPPED, 80).port == 80


def test_each_route_has_its_direction() -> None:
    routes = Routing(policy())
    assert routes.find(CLIENT, "2001:db8:ffff::c000:250", 80).direction is V6_TO_V4
    assert routes.find(NODE, MAPPED, 22).direction is V4_TO_V6


@pytest.mark.parametrize(
    ("source", "prefix", "found", "refused"),
    [
        (CLIENT_ADDRESS, "2001:db8:ffff::/96", "2001:db8:ffff::c000:250", None),
        (CLIENT_ADDRESS, "64:ff9b::/96", None, NO_PREFIX),  # which must not map 192.0.2.0/24
        (GATEWAY, "2001:db8:ffff::/96", None, None),
        (GATEWAY, "64:ff9b::/96", None, None),
        (EITHER, "2001:db8:ffff::/96", "2001:db8:ffff::c000:250", None),
        (EITHER, "64:ff9b::/96", None, None),
    ],
)
def test_the_source_from_ipv4_is_as_the_settings_have_it(
    source: str, prefix: str, found: str | None, refused: str | None
) -> None:
    prefixes = Prefixes([Prefix.parse(prefix)])
    route = Routing(Policy(prefixes, Networks(32), Access(), MAPS), source).find(NODE, MAPPED, 22)
    assert (route.source, route.refused) == (found, refused)
    assert refused or (route.server, route.port) == ("2001:db8:6::9", 22)


def test_another_source_forgets_the_old_answers() -> None:
    routes = Routing(policy())
    assert routes.find(NODE, MAPPED, 22).source == "2001:db8:ffff::c000:250"
    routes.set_source(GATEWAY)
    assert routes.find(NODE, MAPPED, 22).source is None


def test_other_maps_forget_the_old_answers() -> None:
    routes = Routing(policy())
    assert routes.find(NODE, MAPPED, 22).refused is None
    routes.policy = policy(maps=NO_MAPS)
    assert routes.find(NODE, MAPPED, 22).refused == NOT_MAPPED


def test_what_is_remembered_of_ports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "REMEMBERED", 10)
    routes = Routing(policy())
    for port in range(1, 100):
        routes.find(NODE, MAPPED, port)
        assert len(routes._routes) <= 10
