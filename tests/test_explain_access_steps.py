"""The step of access: each refusal of rules and safe defaults has its cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faith.cli.explain.walk import walk
from faith.daemon.config.decision import DecidingRule
from faith.translation import reasons
from tests.explained import GOOD, decided, verdict

DENY, PERMIT = DecidingRule("::/0 deny 0.0.0.0/0", 1), DecidingRule("::/0 permit 192.0.2.80", 2)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (reasons.DENIED, "denied-by-rule"),
        (reasons.NO_RULE, "no-rule-permits"),
        (reasons.SPECIAL, "safe-default"),
        (reasons.OWN, "safe-default"),
        (reasons.NOT_GLOBAL, "safe-default"),
        (reasons.SOURCE_MAPPED, "safe-default"),
        (reasons.NO_PREFIX, "no-prefix"),
        (reasons.NO_SOURCE, "source-absent"),
    ],
)
def test_what_rules_and_defaults_refuse(reason: str, cause: str) -> None:
    assert verdict(decided(GOOD, refused=reason, rule=DENY)) == (cause, True)


def test_a_rule_is_told_with_its_file_and_line() -> None:
    found = walk(decided(GOOD, refused=reasons.DENIED, rule=DENY))
    (step,) = [one for one in found.steps if one.step == "access"]
    assert (step.where, DENY.text in step.text) == ("/etc/faithd.conf:1", True)
    permitted = walk(decided(GOOD, rule=PERMIT))
    assert PERMIT.text in next(one.text for one in permitted.steps if one.step == "access")


def test_the_first_rule_of_all_denies_others() -> None:
    first = decided(GOOD, refused=reasons.SPECIAL, rules=0)
    assert "“::/0 permit 0.0.0.0/0” after it" in walk(first).verdict.action
    assert "::/0" not in walk(decided(first, rules=2)).verdict.action


def test_a_file_is_not_certain_to_be_that_of_the_daemon() -> None:
    facts = replace(decided(GOOD, refused=reasons.DENIED, rule=DENY), from_file="/etc/faithd.conf")
    assert verdict(facts) == ("denied-by-rule", False)
    (step,) = [one for one in walk(facts).steps if one.step == "access"]
    assert "/etc/faithd.conf" in step.text


def test_a_permit_that_comes_too_late_is_shadowed() -> None:
    facts = decided(GOOD, refused=reasons.DENIED, rule=DENY, later_permits=[PERMIT])
    assert verdict(facts) == ("shadowed-rule", True)
    assert "line 2" in walk(facts).verdict.action
