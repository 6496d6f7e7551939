"""The settings of the probes of readiness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.dns.endpoint import Endpoint

MOST = 16
"""Probes of a kind."""


@dataclass(frozen=True)
class ProbeSettings:
    """The probes that have to be good for the daemon to be ready; times in seconds.

    A route has to lead to each of *routes*, an address and a prefix length of IPv4 as numbers; a
    connection to each of *targets* has to come about; each of *dns*, servers, has to answer for the
    name *dns_name*.  All are probed every *interval*, and have *timeout* to answer.  With *workers*
    so many of these have to answer; the daemon is ready then, whatever the others do.
    """

    routes: tuple[tuple[int, int], ...] = ()
    targets: tuple[Endpoint, ...] = ()
    dns: tuple[Endpoint, ...] = ()
    dns_name: str = "."
    workers: int = 0
    interval: float = 10.0
    timeout: float = 3.0


NO_PROBES = ProbeSettings()
