"""Limits and sources: each that refuses has its cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faith.translation import reasons
from tests.explained import GOOD, decided, told, verdict


@pytest.mark.parametrize(
    ("limit", "cause"),
    [
        (reasons.TOTAL, "limit-sessions"),
        (reasons.CLIENT, "limit-client"),
        (reasons.PREFIX, "limit-client"),
        (reasons.TOTAL_RATE, "limit-rate"),
        (reasons.CLIENT_RATE, "limit-rate"),
        (reasons.PREFIX_RATE, "limit-rate"),
    ],
)
def test_limits(limit: str, cause: str) -> None:
    assert verdict(told(GOOD, limit=limit, limits={"sessions": 10})) == (cause, True)


@pytest.mark.parametrize(
    ("path", "opened", "cause"),
    [("kernel", 10, "limit-sessions"), ("kernel", 9, None), ("relay", 10, None)],
)
def test_places_for_flows(path: str, opened: int, cause: str | None) -> None:
    daemons = tuple(replace(one, flows=(opened, 10)) for one in GOOD.daemons)
    assert verdict(told(replace(GOOD, daemons=daemons), path=path))[0] == cause


def test_the_source_address_and_its_ports() -> None:
    absent = decided(GOOD, source="198.51.100.7", source_from="source", source_absent=True)
    assert verdict(absent) == ("source-absent", True)
    assert verdict(replace(GOOD, source_ports=(10, 10))) == ("source-ports-taken", True)
    assert verdict(replace(GOOD, source_ports=(9, 10)))[0] is None


@pytest.mark.parametrize(
    ("reason", "cause", "certain"),
    [
        (reasons.PINGS, "ping-limit", True),
        (reasons.CLIENT_PINGS, "ping-limit", False),
        (reasons.FLOWS, "limit-sessions", True),
        (reasons.CLIENT_SHARE, "limit-client", False),
        (reasons.DENIED, None, False),
    ],
)
def test_refusals_of_this_moment(reason: str, cause: str | None, certain: bool) -> None:
    assert verdict(replace(GOOD, rising=frozenset({reason}))) == (cause, certain)
