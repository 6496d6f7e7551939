"""The date as HTTP writes it (IMF-fixdate, RFC 9110 §5.6.7)."""

from __future__ import annotations

import time
from functools import lru_cache

_DAYS = "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def now() -> bytes:
    """Return the date of now."""
    return written(int(time.time()))


@lru_cache(maxsize=1)
def written(seconds: int) -> bytes:
    """Return the date that is so many *seconds* of Unix time."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
    return f"{date} {hour:02}:{minute:02}:{second:02} GMT".encode("ascii")
