"""The way in: each fault of address, route and way back has its cause."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from faith.cli.explain.facts import NO_ANSWER
from faith.cli.explain.walk import walk
from faith.kernel.netlink.route_query import Answer, LinkState, Neighbour
from faith.kernel.nft.guard import GuardState
from faith.translation.prefix import LOW32, Prefix
from tests.explained import (
    CLIENT,
    FROM_V4,
    GOOD,
    LINKS,
    LOCAL,
    MAPPED,
    PREFIX,
    SERVER,
    UNICAST,
    asked,
    states,
    verdict,
)


def test_without_a_prefix_no_address_stands_for_ipv4() -> None:
    assert verdict(replace(GOOD, prefixes=(), guard=None)) == ("no-prefix", True)


def test_an_address_under_no_prefix() -> None:
    other = "2001:db8:80::80"
    facts = replace(asked(GOOD, destination=other), mapped=other, server="", explained=None)
    assert verdict(facts) == ("not-mapped", True)


def test_an_address_of_the_other_layout() -> None:
    prefix = Prefix.parse("2001:db8:64::/64", "rfc6052")
    wrong = Prefix(prefix.address, 64, LOW32)
    meant = wrong.map(0xC0000250)
    facts = replace(
        GOOD,
        prefixes=(prefix,),
        mapped=f"2001:db8:64::{meant & 0xFFFFFFFF:x}".replace("c0000250", "c000:250"),
        server="0.192.0.0",
        guard=GuardState(True, True, frozenset({(prefix.address, 64)})),
        explained=None,
    )
    assert verdict(facts)[0] == "wrong-layout"
    right = replace(facts, mapped="2001:db8:64:0:c0:2:5000:0", server=SERVER)
    assert states(walk(right), "address") == ["ok"]


def test_a_route_that_is_gone_or_taken() -> None:
    gone = replace(GOOD, prefixes=(), route_in=Answer(errno.ENETUNREACH))
    assert verdict(gone) == ("prefix-not-routed", True)
    for answer in (
        Answer(0, UNICAST, 3, gateway="2001:db8::9", network="2001:db8:ffff::", length=112),
        Answer(errno.EINVAL),
        Answer(0, LOCAL, 1, protocol=2, network=MAPPED, length=128),
    ):
        assert verdict(replace(GOOD, route_in=answer)) == ("prefix-route-taken", True)


def test_no_way_back_to_the_client() -> None:
    assert verdict(replace(GOOD, route_back=Answer(errno.ENETUNREACH))) == (
        "client-unreachable",
        True,
    )
    down = {**LINKS, 2: LinkState(2, "eth0", 1500, True, False, False)}
    assert verdict(replace(GOOD, links=down)) == ("client-unreachable", True)
    mute = (Neighbour(CLIENT, 2, True, False),)
    assert verdict(replace(GOOD, neighbours=mute)) == ("client-unreachable", False)


def test_a_client_whose_packets_to_the_prefix_go_elsewhere() -> None:
    assert verdict(replace(GOOD, client_answers_here=True)) == ("prefix-not-routed", False)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(errno.EINVAL, "blackhole"), (errno.EACCES, "prohibit"), (errno.EHOSTUNREACH, "unreachable")],
)
def test_a_route_that_refuses_is_named(error: int, kind: str) -> None:
    found = walk(replace(GOOD, route_back=Answer(error))).verdict
    assert (found.cause, kind in found.text, "remove" in found.action) == (
        "client-unreachable",
        True,
        True,
    )


def test_reverse_path_filtering_is_certain_where_the_client_is_seen() -> None:
    refused = replace(FROM_V4, route_in=Answer(errno.EXDEV))
    assert verdict(refused) == ("rp-filter", False)
    assert verdict(replace(refused, arrives_seen=True)) == ("rp-filter", True)


def test_a_clients_own_host_is_this_host() -> None:
    found = walk(replace(GOOD, route_back=Answer(0, LOCAL, 1)))
    assert states(found, "client") == ["note"]


def test_a_link_that_is_not_known_has_no_name() -> None:
    facts = replace(GOOD, links={}, arrives=0, route_in=NO_ANSWER._replace(kind=LOCAL, protocol=70))
    assert verdict(facts)[0] is None
    assert PREFIX.layout == LOW32
