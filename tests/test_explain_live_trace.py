"""Live traces: what the events of one packet come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faith.cli.explain.facts import Live
from faith.cli.explain.live_trace import live, seen, watch
from faith.errors import SetupError
from faith.kernel.nft.packet_trace import TraceEvent
from faith.kernel.nft.rule_dump import ACCEPT, DROP
from tests.explained import GOOD

RULE = TraceEvent(1, "inet", "filter", "input", 7, DROP, 2)
POLICY = RULE._replace(handle=0, verdict=ACCEPT)


def test_the_first_packet_counts() -> None:
    assert live([]) == Live()
    assert live([POLICY]) == Live(True, 2)
    assert live([POLICY, RULE]) == Live(True, 2, ("inet", "filter", "input"), 7)
    assert live([POLICY, RULE._replace(number=2)]) == Live(True, 2)


def test_the_interface_of_the_packet_is_taken() -> None:
    assert seen(GOOD, Live(True, 2)).arrives_seen
    elsewhere = seen(GOOD, Live(True, 3))
    assert (elsewhere.arrives, elsewhere.arrives_seen) == (3, True)
    assert not seen(GOOD, Live()).arrives_seen


def test_without_an_address_there_is_nothing_to_trace() -> None:
    with pytest.raises(SetupError, match="no address"):
        watch(replace(GOOD, mapped=""))
