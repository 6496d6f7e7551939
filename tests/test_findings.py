"""The kinds of findings."""

from __future__ import annotations

import re

import pytest

from faith.daemon.observe.findings import KINDS, all_well, finding


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_is_in_kebab_case_and_means_something(kind: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
    assert KINDS[kind].meaning.rstrip(".") == KINDS[kind].meaning


def test_a_finding_has_the_severity_of_its_kind() -> None:
    found = finding("guard-off", "the guard is off", "faith -e")
    assert (found.severity, found.id, found.action) == ("warning", "guard-off", "faith -e")


def test_nothing_is_found_under_an_unknown_id() -> None:
    with pytest.raises(KeyError):
        finding("weather", "it rains")


def test_advice_and_what_could_not_be_seen_are_nothing_amiss() -> None:
    harmless = [finding("sysctl", "x"), finding("guard-unseen", "x")]
    assert all_well(harmless)
    assert not all_well([*harmless, finding("draining", "x")])
    assert not all_well([finding("no-daemon", "x")])
