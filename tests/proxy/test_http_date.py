"""The Date field."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from faith.proxy import http_date


def test_the_example_of_the_rfc() -> None:
    assert http_date.field(784111777.9) == (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT")


@given(st.integers(0, 1 << 34))
def test_any_time(now: int) -> None:
    assert http_date.field(now) == (b"Date", formatdate(now, usegmt=True).encode())
