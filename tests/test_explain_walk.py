"""The walk as a whole: its order, and what becomes of problems, doubts and silence."""

from __future__ import annotations

from dataclasses import replace

from faith.cli.explain.explanation import FAILS, UNCERTAIN, WORKS
from faith.cli.explain.facts import Dial, LegacyFilter
from faith.cli.explain.walk import walk
from faith.kernel.netlink.route_query import Answer, Neighbour
from faith.translation.reasons import NO_RULE
from tests.explained import CLIENT, FROM_V4, GOOD, asked, decided, states, verdict


def test_a_way_without_a_problem_works_and_is_certain_once_the_server_has_answered() -> None:
    unasked = walk(GOOD)
    assert (unasked.verdict.works, unasked.verdict.certain) == (True, False)
    assert "--dial" in unasked.verdict.action
    found = walk(replace(GOOD, dial=Dial("connected")))
    assert (found.verdict.works, found.verdict.certain, found.exit_status) == (True, True, WORKS)


def test_the_steps_come_in_the_order_of_the_way() -> None:
    names = [step.step for step in walk(GOOD).steps]
    assert list(dict.fromkeys(names)) == [
        *("address", "route-here", "client", "way-in", "daemon", "service", "access"),
        *("limits", "source", "route-out", "way-out", "server", "mtu"),
    ]


def test_the_other_direction_has_its_map() -> None:
    found = walk(FROM_V4)
    assert found.verdict.works
    assert states(found, "map") == ["ok"]


def test_the_first_problem_of_the_way_is_the_cause() -> None:
    both = replace(decided(GOOD, refused=NO_RULE), daemons=(), silent=())
    assert walk(both).verdict.cause == "no-daemon"


def test_a_certain_problem_is_told_before_a_likely_one_that_comes_earlier() -> None:
    gone = (Neighbour(CLIENT, 2, True, False),)
    likely = replace(GOOD, neighbours=gone)
    assert (walk(likely).verdict.cause, walk(likely).verdict.certain) == (
        "client-unreachable",
        False,
    )
    assert walk(likely).exit_status == FAILS
    found = walk(decided(likely, refused=NO_RULE)).verdict
    assert (found.cause, found.certain) == ("no-rule-permits", True)


def test_rules_that_cannot_be_read_leave_the_verdict_open() -> None:
    found = walk(replace(GOOD, ruleset=None, ruleset_error="needs CAP_NET_ADMIN"))
    assert (found.verdict.works, found.exit_status) == (None, UNCERTAIN)
    legacy = {"ip6": LegacyFilter(True), "ip": LegacyFilter()}
    assert walk(replace(GOOD, legacy=legacy)).verdict.works is None


def test_nothing_is_said_of_what_could_not_be_asked() -> None:
    facts = replace(GOOD, explained=None, mapped="", server="", prefixes=(), guard=None)
    found = walk(replace(facts, route_in=Answer(), route_out=Answer()))
    assert found.verdict.cause == "no-prefix"
    assert states(found, "server") == []


def test_nothing_that_follows_from_a_guess_at_the_settings_is_certain() -> None:
    refused = decided(replace(GOOD, from_file="/etc/faithd.conf"), refused=NO_RULE)
    guessed = walk(replace(refused, guessed=True))
    assert (guessed.verdict.cause, guessed.verdict.certain) == ("no-rule-permits", False)
    none = walk(replace(refused, daemons=(), guessed=True)).verdict
    assert (none.cause, none.certain) == ("no-daemon", True)


def test_the_ports_that_a_daemon_has_told_are_certain() -> None:
    other = asked(decided(GOOD, served=False, service=None), port=23)
    assert verdict(replace(other, guessed=True)) == ("no-service", True)
    here = decided(GOOD, served=False, service=None)
    assert verdict(replace(here, guessed=True)) == ("no-service", False)
