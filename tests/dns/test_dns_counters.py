"""What is counted of names."""

from __future__ import annotations

from faith.dns.dns_counters import (
    ANSWERS,
    LAYOUT,
    QUERIES,
    REFUSED,
    SYNTHESISED,
    UPSTREAM,
    Counters,
)


def test_each_has_its_number() -> None:
    cells = [0] * LAYOUT.size
    counted = Counters(cells)
    counted.datagrams(5, 3)
    counted.stream(at_once=True)
    counted.stream(at_once=False)
    for how in ("looked up", "stale", "failed"):
        counted.answered(how)
    counted.synthesised()
    for result in ("answer", "timeout", "timeout", "error"):
        counted.asked(result)
    for what in ("look-ups", "streams", "leases", "leases", "loops"):
        counted.refused(what)
    assert list(LAYOUT.of(QUERIES, cells)) == [5, 2]
    assert list(LAYOUT.of(ANSWERS, cells)) == [4, 1, 1, 1]
    assert list(LAYOUT.of(SYNTHESISED, cells)) == [1]
    assert list(LAYOUT.of(UPSTREAM, cells)) == [1, 2, 1]
    assert list(LAYOUT.of(REFUSED, cells)) == [1, 1, 2, 1]
