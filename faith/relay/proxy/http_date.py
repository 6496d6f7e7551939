"""The date as HTTP writes it (IMF-fixdate, RFC 9110 §5.6.7)."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache


def now() -> bytes:
    """Return the date of now."""
    return written(int(time.time()))


@lru_cache(maxsize=1)
def written(seconds: int) -> bytes:
    """Return the date that is so many *seconds* of Unix time."""
    return formatdate(seconds, usegmt=True).encode("ascii")
