from __future__ import annotations

from faith.kernel.bpf.bpf import MMAPABLE
from faith.kernel.flow.map_kinds import COUNTERS, MOST_COUNTERS, kinds


def test_what_is_mapped_as_memory_has_no_gaps() -> None:
    """The kernel rounds elements of arrays up to 8 octets."""
    mapped = [value for _, _, value, _, flags in kinds(4).values() if flags & MMAPABLE]
    assert mapped
    assert not any(size % 8 for size in mapped)


def test_there_is_room_for_the_counters_and_each_is_there_once() -> None:
    assert len(set(COUNTERS)) == len(COUNTERS) <= MOST_COUNTERS


def test_tables_have_room_for_all_slots() -> None:
    assert {kinds(4)[name][3] for name in ("flows6", "flows4", "slots")} == {4}
