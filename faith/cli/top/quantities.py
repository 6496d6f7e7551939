"""Octets, rates and durations in few characters."""

from __future__ import annotations

_MULTIPLES = "kMGTPE"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def octets(number: float) -> str:
    """Return *number* in four characters or so: ``17``, ``4.2k``, ``420M``; by thousands."""
    if number < 999.5:
        return f"{number:.0f}"
    for letter in _MULTIPLES:
        number /= 1000
        if number < 9.95:
            return f"{number:.1f}{letter}"
        if number < 999.5:
            return f"{number:.0f}{letter}"
    return f"{number:.0f}{_MULTIPLES[-1]}"


def rate(number: float | None) -> str:
    """Return octets a second as `octets` does, ``-`` if they are not known."""
    return "-" if number is None else octets(number)


def duration(seconds: float) -> str:
    """Return *seconds* in two units at most: ``7s``, ``2m05s``, ``3h12m``, ``4d01h``."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{max(0, whole)}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"
