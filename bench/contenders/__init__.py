"""What carries connections from the client to the origin, and is measured doing so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.gocopy import GoCopy
from bench.contenders.haproxy import HAProxy
from bench.contenders.kernel import Kernel
from bench.contenders.nginx import Nginx
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
"""All of them, the relay first."""

__all__ = [
    "CONTENDERS",
    "GoCopy",
    "HAProxy",
    "Kernel",
    "Nginx",
    "Relay",
    "Routed",
    "Socat",
]
