"""The roles of a daemon's processes: ``worker 2``, as titles, reports and metrics name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SUPERVISOR, ADMIN, PING, UDP, FLOWS = "supervisor", "admin", "ping", "udp", "flows"
"""Roles of one process each."""
WORKER, DNS, TLS = "worker", "dns", "tls"
"""Kinds of roles of several processes, whose numbers follow."""

_BY_POOL = {
    "worker": WORKER,
    "name server": DNS,
    "ping server": PING,
    "UDP server": UDP,
    "kernel path": FLOWS,
    "admin listener": ADMIN,
    "TLS terminator": TLS,
}
"""The kinds of roles, by what the pools call their processes."""


class Role(NamedTuple):
    """The role *name* of the process that writes the slab in a *place* of an area."""

    name: str
    place: int

    @property
    def kind(self) -> str:
        """The name without its number: `WORKER`, `DNS`, `TLS`, or the name of a single process."""
        return self.name.partition(" ")[0]


def role_of(what: str, number: int) -> str | None:
    """Return the role of process *number*, from 0, of a pool that calls its processes *what*.

    None for processes that have none: those that a predecessor process has left.
    """
    kind = _BY_POOL.get(what)
    return numbered(kind, number) if kind in (WORKER, DNS, TLS) else kind


def numbered(kind: str, number: int) -> str:
    """Return the role of process *number*, from 0, of a *kind* with several."""
    return f"{kind} {number + 1}"


def several(kind: str, places: Iterable[int]) -> list[Role]:
    """Return the roles of a *kind* in *places*, numbered from 1."""
    return [Role(numbered(kind, number), place) for number, place in enumerate(places)]
