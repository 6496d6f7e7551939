"""Which CPUs the contender and the load may use.

A contender with one worker always has the last CPU, and packets are received on the CPU that sent
them (a veth has no other), so that what the contender causes in the kernel is charged to it and
what the ends cause is not.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Placement(NamedTuple):
    """The CPUs for the gateway's programs, and for those of the client and the server."""

    contender: tuple[int, ...]
    ends: tuple[int, ...]


def _all() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


def apart() -> Placement:
    """The contender has the last CPU to itself, where there are two or more."""
    return Placement(_all()[-1:], _all()[:-1] or _all())


def anywhere() -> Placement:
    """Everything may run everywhere: for a contender with a worker for each CPU."""
    return Placement(_all(), _all())
