"""What carries connections from the client to the origin, and is measured doing so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.gocopy import GoCopy
from bench.contenders.haproxy import HAProxy
from bench.contenders.kernel import Kernel
from bench.contenders.nginx import Nginx
from bench.contenders.proxies import PROXIES
from bench.contenders.relay import Relay
from bench.contenders.routed import Routed
from bench.contenders.socat import Socat

if TYPE_CHECKING:
    from bench.contenders.base import Contender

CONTENDERS: tuple[Contender, ...] = (
    Relay(),
    Kernel(),
    HAProxy(),
    HAProxy(forced=True),
    Nginx(),
    GoCopy(),
    Socat(),
    Routed(),
)
"""Relays, ours first."""
ALL = (*CONTENDERS, *(one for one in PROXIES if one not in CONTENDERS))
OURS = ("relay", "kernel", "proxy")
"""Names of those that are written in Python."""

__all__ = [
    "ALL",
    "CONTENDERS",
    "OURS",
    "PROXIES",
    "GoCopy",
    "HAProxy",
    "Kernel",
    "Nginx",
    "Relay",
    "Routed",
    "Socat",
]
