"""The date as HTTP writes it."""

from __future__ import annotations

import time
from email.utils import formatdate, parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st

from faith.relay.proxy import http_date


def test_the_example_of_the_rfc() -> None:
    assert http_date.written(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 1 << 34))
def test_any_time(seconds: int) -> None:
    assert http_date.written(seconds) == formatdate(seconds, usegmt=True).encode()


def test_now() -> None:
    before = int(time.time())
    said = parsedate_to_datetime(http_date.now().decode()).timestamp()
    assert before <= said <= time.time()
