from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from faith.translation.ranges import ranges, together, without


@st.composite
def networks(draw: st.DrawFn) -> list[tuple[int, int]]:
    lengths = draw(st.lists(st.integers(2, 8), max_size=6))
    return [(draw(st.integers(0, (1 << n) - 1)) << (8 - n), n) for n in lengths]


def members(some: list[tuple[int, int]]) -> set[int]:
    return {address for first, last in some for address in range(first, last + 1)}


def held(some: list[tuple[int, int]]) -> set[int]:
    return {a for address, n in some for a in range(address, address + (1 << (8 - n)))}


@given(networks())
def test_ranges_hold_what_the_networks_hold_and_do_not_touch(some: list[tuple[int, int]]) -> None:
    found = ranges(some, 8)
    assert members(found) == held(some)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))


@given(networks(), networks())
def test_together_they_are_those_of_all_networks(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    assert together(ranges(some, 8), ranges(others, 8)) == ranges([*some, *others], 8)


@given(networks(), networks())
def test_without_takes_away_exactly_the_holes(
    some: list[tuple[int, int]], holes: list[tuple[int, int]]
) -> None:
    left = without(ranges(some, 8), ranges(holes, 8))
    assert members(left) == held(some) - held(holes)
    assert all(first <= last for first, last in left)
    assert all(last < first for (_, last), (first, _) in pairwise(left))
