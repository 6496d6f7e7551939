from __future__ import annotations

import pytest

from faith.kernel.shared.families import HISTOGRAM, Family, Layout

PLAIN = Family("plain", "One number.")
LABELLED = Family("labelled", "Three numbers.", label="to", values=("v4", "v6", "other"))
TIMES = Family("times", "A histogram.", HISTOGRAM, bounds=(0.5, 2.0))


def test_a_family_has_a_cell_for_each_value_or_bucket() -> None:
    assert (PLAIN.size, PLAIN.names) == (1, ("",))
    assert (LABELLED.size, LABELLED.names) == (3, ("v4", "v6", "other"))
    assert (TIMES.size, TIMES.names) == (4, ("0.5", "2.0", "above", "sum"))


def test_the_families_of_a_layout_follow_each_other_without_a_gap() -> None:
    layout = Layout(LABELLED, PLAIN, TIMES)
    assert layout.size == 8
    assert [layout.start(family) for family in (LABELLED, PLAIN, TIMES)] == [0, 3, 4]
    assert layout.cells(LABELLED) == {"v4": 0, "v6": 1, "other": 2}
    assert layout.cells(PLAIN) == {"": 3}
    cells = list(range(100, 108))
    assert [layout.of(family, cells) for family in layout.families] == [
        [100, 101, 102],
        [103],
        [104, 105, 106, 107],
    ]


def test_an_empty_layout_takes_no_room_and_knows_no_family() -> None:
    layout = Layout()
    assert layout.size == 0
    with pytest.raises(KeyError):
        layout.start(PLAIN)
