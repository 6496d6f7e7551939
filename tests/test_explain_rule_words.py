"""Rules in words: with nft's text where it can be had."""

from __future__ import annotations

from dataclasses import replace

from faith.cli.explain.packet_filter import Ends, Fate
from faith.cli.explain.rule_words import described, dropped
from tests.explained import GOOD
from tests.test_explain_packet_filter import chain


def test_a_rule_is_named_by_its_handle_and_shown_if_it_can_be() -> None:
    by_rule = Fate(Ends.DROPPED, chain("input"), 7)
    assert described(GOOD, by_rule) == "the rule with handle 7 in chain ip6 filter x"
    shown = replace(GOOD, show_rule=lambda fate: "tcp dport 80 drop")
    assert described(shown, by_rule).endswith("(tcp dport 80 drop)")
    assert described(GOOD, replace(by_rule, handle=0)) == "the policy of chain ip6 filter x"


def test_doubt_and_programs_are_told() -> None:
    doubtful = Fate(Ends.REJECTED, chain("input"), 7, certain=False)
    step = dropped(GOOD, doubtful, "way-in", "firewall-drops-client", "packets")
    assert ("may be" in step.text, step.certain) == (True, False)
    queued = Fate(Ends.QUEUED, chain("input"), 7)
    assert dropped(GOOD, queued, "way-in", "", "packets").state == "unknown"
