"""The way out: each fault of route, filters, server and MTU has its cause."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from faith.cli.explain.facts import Dial, LegacyFilter, PathProbe
from faith.cli.explain.walk import walk
from faith.cli.explain.way_out_steps import leaving, returning
from faith.kernel.netlink.route_query import Answer, LinkState, Neighbour
from faith.kernel.nft.rule_dump import Ruleset
from tests.explained import (
    FROM_V4,
    GOOD,
    LINKS,
    LOCAL,
    SERVER,
    SOURCE,
    UNICAST,
    asked,
    decided,
    states,
    verdict,
)
from tests.test_explain_packet_filter import chain, rule

NOWHERE = Answer(errno.ENETUNREACH)


def test_no_route_to_the_server() -> None:
    assert verdict(replace(GOOD, route_out=NOWHERE)) == ("no-route-out", True)
    assert verdict(replace(GOOD, route_out=Answer(errno.EHOSTUNREACH))) == ("no-route-out", True)
    assert verdict(replace(FROM_V4, route_out=NOWHERE)) == ("map-target-unreachable", True)


def test_an_interface_that_is_down() -> None:
    down = {**LINKS, 3: LinkState(3, "eth1", 1500, True, False, False)}
    assert verdict(replace(GOOD, links=down)) == ("uplink-down", True)
    gone = replace(GOOD, route_out=NOWHERE, down_with_addresses=("eth1",))
    assert verdict(gone) == ("uplink-down", True)
    several = replace(gone, down_with_addresses=("eth1", "eth2"))
    assert verdict(several) == ("uplink-down", False)


def test_answers_that_reverse_path_filtering_drops() -> None:
    facts = replace(GOOD, server_seen_at=2, route_of_answers=Answer(errno.EXDEV))
    assert verdict(facts) == ("rp-filter", True)


def test_answers_that_a_route_takes() -> None:
    taken = replace(GOOD, route_of_answers=Answer(errno.EINVAL))
    assert verdict(taken) == ("answers-taken", True)
    elsewhere = replace(GOOD, route_of_answers=Answer(0, UNICAST, 2))
    assert verdict(elsewhere) == ("answers-taken", True)
    assert verdict(replace(GOOD, route_of_answers=Answer(0, LOCAL, 1))) == (None, False)


def test_a_rule_that_may_be_in_the_way_is_none_once_the_server_has_answered() -> None:
    one = chain("output", family="ip")
    ruleset = Ruleset((one,), {("ip", "filter", "x"): (rule("maybe drop"),)})
    facts = replace(GOOD, ruleset=ruleset)
    assert verdict(facts) == ("output-firewall-drops", False)
    answered = replace(facts, dial=Dial("connected"))
    assert verdict(answered) == (None, True)
    assert states(walk(answered), "way-out") == ["note"]


def test_a_silent_server_is_not_certain_where_a_rule_may_be_in_the_way() -> None:
    one = chain("input", family="ip")
    ruleset = Ruleset((one,), {("ip", "filter", "x"): (rule("maybe drop"),)})
    facts = replace(GOOD, ruleset=ruleset)
    assert verdict(replace(facts, dial=Dial("silent"))) == ("firewall-drops-answers", False)
    refusing = replace(facts, dial=Dial("refused"))  # a rule that drops does not
    assert verdict(refusing) == ("server-refuses", True)


def test_a_next_hop_that_is_mute() -> None:
    mute = (Neighbour("192.0.2.9", 3, True, False),)
    through = Answer(0, UNICAST, 3, gateway="192.0.2.9", source=SOURCE)
    assert verdict(replace(GOOD, route_out=through, neighbours=mute)) == (
        "server-unreachable",
        False,
    )


def test_rules_against_packets_to_the_server_and_its_answers() -> None:
    for hook, cause in (("output", "output-firewall-drops"), ("input", "firewall-drops-answers")):
        one = chain(hook, family="ip")
        ruleset = Ruleset((one,), {("ip", "filter", "x"): (rule("drop"),)})
        assert verdict(replace(GOOD, ruleset=ruleset)) == (cause, True)


def test_legacy_rules_against_packets_to_the_server() -> None:
    saved = f"*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -d {SERVER}/32 -j REJECT\nCOMMIT\n"
    facts = replace(GOOD, legacy={"ip": LegacyFilter(True, saved)})
    assert verdict(facts) == ("firewall-drops-legacy", True)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("refused", "server-refuses"),
        ("silent", "server-silent"),
        ("unreachable", "server-unreachable"),
        ("forbidden", "output-firewall-drops"),
        ("no source", "source-absent"),
        ("no port", "source-ports-taken"),
    ],
)
def test_what_a_test_connection_finds(kind: str, cause: str) -> None:
    assert verdict(replace(GOOD, dial=Dial(kind, "said so", "192.0.2.9"))) == (cause, True)


def test_the_silence_of_udp_says_nothing() -> None:
    facts = replace(asked(decided(GOOD, protocol="udp"), protocol="udp"), dial=Dial("silent"))
    found = walk(facts)
    assert (found.verdict.cause, states(found, "server")) == (None, ["unknown"])


def test_answers_that_may_be_filtered_elsewhere_are_not_certain_to_be_missing() -> None:
    silent = replace(GOOD, dial=Dial("silent"))
    assert verdict(silent) == ("server-silent", True)
    assert verdict(replace(silent, strict=("eth2",))) == ("server-silent", False)


def test_who_said_that_it_is_unreachable_is_told() -> None:
    found = walk(replace(GOOD, dial=Dial("unreachable", "No route to host", "192.0.2.9")))
    assert "192.0.2.9" in found.verdict.text


def test_a_black_hole_for_large_packets() -> None:
    hole = PathProbe(1500, small=True, large=False)
    facts = replace(GOOD, dial=Dial("connected"), probe=hole)
    assert verdict(replace(facts, mtu_probing="0")) == ("mtu-blackhole", True)
    assert verdict(facts) == ("mtu-blackhole", False)  # TCP finds a size by itself
    for probe, certain in (
        (replace(hole, large=True), True),
        (replace(hole, reported=1280), True),
        (PathProbe(1500, small=False), False),
        (PathProbe(1500), False),
    ):
        assert verdict(replace(facts, probe=probe)) == (None, certain)
        assert verdict(replace(facts, probe=None, client_probe=probe)) == (None, certain)
    to_client = replace(facts, mtu_probing="0", probe=None, client_probe=hole)
    assert verdict(to_client) == ("mtu-blackhole", True)


def test_the_packets_of_this_leg() -> None:
    sent, back = leaving(GOOD), returning(GOOD)
    assert (sent.source, sent.destination, sent.port) == (SOURCE, SERVER, 80)
    assert (back.source, back.destination, back.answer) == (SERVER, SOURCE, True)
    assert sent.user == 65534
    assert back.user is None


def test_a_server_that_is_this_host() -> None:
    facts = replace(GOOD, route_out=Answer(0, LOCAL, 1, source=SERVER))
    assert states(walk(facts), "route-out") == ["note"]
