"""Every reason has its word, its metric label and its line in the manual."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faith.datagram.ping import ping_counters
from faith.datagram.udp import udp_counters
from faith.relay.tcp import relay_counters
from faith.translation import reasons

MANUAL = Path(__file__).parents[1] / "docs/man/faithd.8"
TABLES = (
    reasons.CONNECTION,
    reasons.PROXY,
    reasons.DATAGRAM,
    reasons.ASSOCIATION,
    reasons.PING,
    reasons.END,
    reasons.FLOW_END,
)


def test_every_word_is_in_a_table() -> None:
    in_tables = {word for table in TABLES for word in table}
    one_word = {name: value for name, value in vars(reasons).items() if name.isupper()}
    singles = {value for value in one_word.values() if isinstance(value, str)}
    assert singles - in_tables == {reasons.OTHER}


@pytest.mark.parametrize("table", TABLES)
def test_no_word_stands_twice(table: tuple[str, ...]) -> None:
    assert len(set(table)) == len(table)


def test_the_manual_explains_every_word_and_no_other() -> None:
    section = MANUAL.read_text().partition("Ends of sessions are")[2]
    section = section.partition("A connection refused by the rules")[0]
    items = re.findall(r"^\.It Li (.*)$", section, re.MULTILINE)
    explained = {
        word
        for item in items
        for word in ([item] if item == reasons.NOT_GLOBAL else item.split(" , "))
    }
    assert explained == {word for table in TABLES for word in table}


@pytest.mark.parametrize("why", reasons.POLICY)
def test_a_refusal_by_policy_counts_as_itself_for_every_protocol(why: str) -> None:
    for module, counters in (
        (relay_counters, relay_counters.Counters),
        (udp_counters, udp_counters.UdpCounters),
        (ping_counters, ping_counters.PingCounters),
    ):
        cells = [0] * module.LAYOUT.size
        counters(cells).refused(why)
        assert cells[module.LAYOUT.cells(module.REFUSALS)[why]] == 1
        assert sum(cells) == 1


@pytest.mark.parametrize("why", reasons.PROXY)
def test_a_refusal_by_a_proxy_counts_as_itself(why: str) -> None:
    cells = [0] * relay_counters.LAYOUT.size
    relay_counters.Counters(cells).refused(why)
    assert cells[relay_counters.LAYOUT.cells(relay_counters.REFUSALS)[why]] == 1
    assert sum(cells) == 1
