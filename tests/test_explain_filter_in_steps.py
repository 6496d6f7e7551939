"""Packet filters on the way in: rules, translations, legacy tables and the guard."""

from __future__ import annotations

from dataclasses import replace

from faith.cli.explain.facts import LegacyFilter, Live
from faith.cli.explain.walk import walk
from faith.kernel.nft.guard import GuardState
from faith.kernel.nft.rule_dump import DumpedRule, Ruleset
from faith.kernel.nft.translators import Translator
from faith.translation.ports import Ports
from tests.explained import GOOD, states, verdict
from tests.test_explain_packet_filter import chain, rule


def filtered(hook: str, *rules: DumpedRule, kind: str = "filter", family: str = "ip6") -> Ruleset:
    one = chain(hook, kind=kind, family=family)
    return Ruleset((one,), {(one.family, one.table, one.name): rules})


def test_rules_against_the_client_and_against_its_answers() -> None:
    for hook in ("prerouting", "input"):
        facts = replace(GOOD, ruleset=filtered(hook, rule("drop")))
        assert verdict(facts) == ("firewall-drops-client", True)
    for hook in ("output", "postrouting"):
        facts = replace(GOOD, ruleset=filtered(hook, rule("drop")))
        assert verdict(facts) == ("firewall-drops-answers", True)


def test_a_translation_counts_unless_the_guard_comes_before_it() -> None:
    facts = replace(GOOD, ruleset=filtered("prerouting", rule("redir"), kind="nat"))
    assert verdict(facts) == ("foreign-dnat", True)
    assert GOOD.guard
    docker = Translator("ip6", "nat", "x", -100)
    guard = replace(GOOD.guard, keeps_untranslated=True, translators=(docker,))
    assert verdict(replace(facts, guard=guard))[0] is None


def test_a_program_that_decides_leaves_it_open() -> None:
    found = walk(replace(GOOD, ruleset=filtered("input", rule("queue"))))
    assert found.verdict.works is None


def test_legacy_tables() -> None:
    saved = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n"
    facts = replace(GOOD, legacy={"ip6": LegacyFilter(True, saved)})
    assert verdict(facts) == ("firewall-drops-legacy", True)


def test_the_guard_is_told_of() -> None:
    assert GOOD.guard
    altered = replace(GOOD, guard=replace(GOOD.guard, intact=False))
    assert verdict(altered) == ("guard-altered", False)
    missing = replace(GOOD, guard=GuardState())
    assert "note" in states(walk(missing), "way-in")
    opened = replace(GOOD, guard=replace(GOOD.guard, open_ports=Ports([(80, 80)])))
    assert "note" in states(walk(opened), "way-in")


def test_a_trace_is_told_of() -> None:
    unseen = walk(replace(GOOD, live=Live()))
    assert unseen.verdict.works is None
    passed = replace(GOOD, live=Live(True, 2))
    assert states(walk(passed), "way-in")[0] == "ok"
    refused = replace(GOOD, live=Live(True, 2, ("ip6", "faith", "reserved"), 7))
    assert verdict(refused) == ("steering-gone", False)
    assert verdict(replace(refused, daemons=())) == ("no-daemon", True)
    dropped = replace(GOOD, live=Live(True, 2, ("ip6", "filter", "x"), 7))
    assert verdict(dropped) == ("firewall-drops-client", True)


def test_a_packet_that_passed_settles_what_is_doubtful() -> None:
    facts = replace(GOOD, ruleset=filtered("input", rule("maybe drop")))
    assert verdict(facts) == ("firewall-drops-client", False)
    assert verdict(replace(facts, live=Live(True, 2)))[0] is None
