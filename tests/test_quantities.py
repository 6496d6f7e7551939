"""Octets and durations in few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.cli.top.quantities import duration, octets, rate


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0k"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9950, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (420_000_000, "420M"),
        (3.2e21, "3200E"),
    ],
)
def test_octets(number: float, text: str) -> None:
    assert octets(number) == rate(number) == text


@given(st.floats(0, 9e20))
def test_they_are_short_and_near(number: float) -> None:
    text = octets(number)
    assert len(text) <= 4
    scale = 1000 ** (" kMGTPE".index(text[-1]) if text[-1].isalpha() else 0)
    value = float(text.rstrip("kMGTPE")) * scale
    assert abs(value - number) <= max(0.5, 0.06 * number)


def test_an_unknown_rate() -> None:
    assert rate(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400 * 4 + 3600, "4d01h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
