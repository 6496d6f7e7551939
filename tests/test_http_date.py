"""The date as HTTP writes it."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from faith.relay.proxy import http_date


def test_the_example_of_the_rfc() -> None:
    assert http_date.written(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_now() -> None:
    before = int(time.time())
    said = parsedate_to_datetime(http_date.now().decode()).timestamp()
    assert before <= said <= time.time()
