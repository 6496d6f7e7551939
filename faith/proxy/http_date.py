"""The Date field (RFC 9110 §6.6.1) of a time that the caller knows: there is no clock in here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.proxy.http_head import Field

_DAYS = "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def field(now: float) -> Field:
    """Return the field for *now*, in seconds of Unix time (IMF-fixdate, RFC 9110 §5.6.7)."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(now)
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
    return b"Date", f"{date} {hour:02}:{minute:02}:{second:02} GMT".encode("ascii")
