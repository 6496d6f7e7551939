"""Maps and leases: what is missing, and who else holds the address."""

from __future__ import annotations

from dataclasses import replace

from faith.cli.explain.walk import walk
from faith.translation.reasons import NOT_MAPPED
from tests.explained import FROM_V4, GOOD, decided, states, told, verdict


def test_an_address_without_a_map() -> None:
    facts = decided(FROM_V4, refused=NOT_MAPPED, map="", server="")
    assert verdict(facts) == ("map-missing", True)
    assert verdict(decided(facts, in_pool=True)) == ("lease-missing", True)


def test_a_map_of_the_other_gateway() -> None:
    facts = decided(told(FROM_V4, standby="192.0.2.1"), refused=NOT_MAPPED, map="", server="")
    assert verdict(facts) == ("standby", True)


def test_a_lease() -> None:
    found = walk(decided(FROM_V4, map="", leased=True))
    assert (states(found, "lease"), found.verdict.works) == (["ok"], True)


def test_another_host_that_holds_the_address() -> None:
    said = "duplicate address: 192.0.2.102 is used by 02:00:00:00:00:09, and by this gateway"
    assert verdict(told(FROM_V4, conflicts=[said])) == ("map-not-held", True)
    others = said.replace("192.0.2.102", "192.0.2.10")
    assert verdict(told(FROM_V4, conflicts=[others]))[0] is None


def test_arp_that_is_not_answered() -> None:
    said = "eth1 answers ARP for its own addresses alone: net.ipv4.conf.eth1.arp_ignore=0"
    assert verdict(replace(FROM_V4, arp_ignored=said)) == ("arp-ignored", True)
    behind = FROM_V4.route_back._replace(gateway="192.0.2.9")
    assert verdict(replace(FROM_V4, arp_ignored=said, route_back=behind))[1] is False


def test_the_usual_direction_has_no_map() -> None:
    assert states(walk(GOOD), "map") == []
