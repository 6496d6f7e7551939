"""How many descriptors a process may have, which bounds the sessions that can be measured."""

from __future__ import annotations

import resource

_WANTED = 65536
_SPARE = 800
"""Descriptors that a contender needs for other things than sessions, pipes for instance."""


def allow_many() -> None:
    """Raise the limit for this process and for those it starts, as far as it can be raised."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(_WANTED, most), most):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (OSError, ValueError):
            continue
        return


def most_sessions() -> int:
    """The sessions that one process can relay for one client, in hundreds.

    A relay with shares lets one client have half of what it has descriptors for.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (limit - _SPARE) // 400 * 100
