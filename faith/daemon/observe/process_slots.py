"""The processes of a daemon by their roles, as the slabs of its area have their numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from faith.daemon.observe.own_numbers import (
    ABSENT,
    CPU,
    DESCRIPTORS,
    DOWN,
    HEARD,
    IS_UP,
    LAYOUT,
    MEMORY,
    MOST_DESCRIPTORS,
    PID,
    PLACES,
    PRESENT,
    RESTARTS,
    SHARED_OUT,
    STARTED,
    TAKEN,
    UP,
)
from faith.daemon.observe.roles import DNS, FLOWS, PING, UDP, WORKER
from faith.datagram.ping import ping_counters
from faith.datagram.udp import udp_counters
from faith.dns import dns_counters
from faith.flow import flow_counters
from faith.kernel.shared.families import add, natural
from faith.relay.tcp import relay_counters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faith.daemon.observe.roles import Role
    from faith.kernel.shared.families import Family, Layout
    from faith.kernel.shared.shared_counters import Area

_UP, _RESTARTS, _PID, _HEARD = map(LAYOUT.start, (UP, RESTARTS, PID, HEARD))
_STARTED, _CPU, _MEMORY = map(LAYOUT.start, (STARTED, CPU, MEMORY))
_DESCRIPTORS, _MOST_DESCRIPTORS = map(LAYOUT.start, (DESCRIPTORS, MOST_DESCRIPTORS))
_TAKEN, _PLACES, _PRESENT = map(LAYOUT.cells, (TAKEN, PLACES, PRESENT))
_MICRO = 1_000_000

_WORK: dict[str, tuple[Layout, Family | None, tuple[Family, ...]]] = {
    WORKER: (
        relay_counters.LAYOUT,
        relay_counters.OPEN,
        (relay_counters.OPEN, relay_counters.SESSIONS),
    ),
    FLOWS: (flow_counters.LAYOUT, flow_counters.OPEN, (flow_counters.BEGUN,)),
    UDP: (udp_counters.LAYOUT, udp_counters.FLOWS, (udp_counters.BEGUN,)),
    PING: (ping_counters.LAYOUT, ping_counters.IDENTIFIERS, (ping_counters.REQUESTS,)),
    DNS: (dns_counters.LAYOUT, None, (dns_counters.QUERIES,)),
}
"""The families that say what a process of a kind has open, and all that it has begun.

Of a name server, look-ups are open.
"""


class Fill(NamedTuple):
    """How full a *table* is, one of `own_numbers.TABLES`: *taken* of so many *places*.

    *places* is None where there is no limit.
    """

    table: str
    taken: int
    places: int | None

    @property
    def has_shares(self) -> bool:
        """Return whether each client has a share of the places once more than half are taken."""
        return self.table in SHARED_OUT and self.places is not None

    @property
    def is_shared_out(self) -> bool:
        """Return whether more than half are taken."""
        return self.has_shares and 2 * self.taken > (self.places or 0)


class ProcessState(NamedTuple):
    """A process in its *role*, as its supervisor knows it: *up* if it serves and is not late.

    *restarts* are those in its place since the last time.
    """

    role: str
    up: bool
    restarts: int


class ProcessNumbers(NamedTuple):
    """The numbers of the process in a *role*, and how often it was replaced: *restarts*.

    *open* are the sessions, flows, identifiers or look-ups that it has, and *begun* all those of
    its place; None for a role without such.  *heard* are the seconds since its last heartbeat.  The
    rest is of a process that is *up*: Unix time at which it *started*, *cpu* seconds, octets of
    *memory*, descriptors; 0 for what it cannot find out.
    """

    role: str
    up: bool
    pid: int
    restarts: int
    heard: float
    started: float
    cpu: float
    memory: int
    descriptors: int
    most_descriptors: int
    open: int | None
    begun: int | None
    fills: tuple[Fill, ...]


class ProcessSlots:
    """The slabs of *area* that belong to *roles*."""

    def __init__(self, area: Area, roles: Sequence[Role]) -> None:
        self.area = area
        self.roles = tuple(roles)
        self._by_name = {role.name: role for role in roles}

    def judge(self, states: Iterable[ProcessState]) -> None:
        """Record which processes are up, in the supervisor; those that are not named are gone."""
        found: dict[str, bool] = {}
        for state in states:
            role = self._by_name.get(state.role)
            if role is None:  # of a program with more of them
                continue
            found[role.name] = found.get(role.name, False) or state.up
            if state.restarts:
                add(self._cells(role), _RESTARTS, state.restarts)
        for role in self.roles:
            up = found.get(role.name)
            self._cells(role)[_UP] = ABSENT if up is None else IS_UP if up else DOWN

    def __iter__(self) -> Iterator[ProcessNumbers]:
        """Yield the numbers of the processes that there are to be, in the order of the roles."""
        now = time.monotonic()
        for role in self.roles:
            if self._cells(role)[_UP] != ABSENT:
                yield self._numbers(role, now)

    def has(self, kind: str) -> bool:
        """Return whether there are to be processes of a *kind*."""
        return any(role.kind == kind and self._cells(role)[_UP] != ABSENT for role in self.roles)

    def is_up(self, role: Role) -> bool:
        """Return whether the process in *role* serves and is not late."""
        return self._cells(role)[_UP] == IS_UP

    def _numbers(self, role: Role, now: float) -> ProcessNumbers:
        cells = natural(self._cells(role))
        opened, begun = self._work(role)
        up = cells[_UP] == IS_UP
        return ProcessNumbers(
            role.name,
            up,
            cells[_PID],
            cells[_RESTARTS],
            max(0.0, now - cells[_HEARD] / _MICRO),
            cells[_STARTED] / _MICRO,
            cells[_CPU] / _MICRO,
            cells[_MEMORY],
            cells[_DESCRIPTORS],
            cells[_MOST_DESCRIPTORS],
            opened,
            begun,
            tuple(_fills(cells)) if up else (),
        )

    def _work(self, role: Role) -> tuple[int | None, int | None]:
        """Return how much the process in *role* has open, and has begun."""
        if role.kind not in _WORK:
            return None, None
        layout, opened, begun = _WORK[role.kind]
        cells = natural(self.area.slab(role.place, layout))
        count = sum(sum(layout.of(family, cells)) for family in begun)
        if opened is None:
            return natural(self._cells(role))[_TAKEN["look-ups"]], count
        return cells[layout.start(opened)], count

    def _cells(self, role: Role) -> memoryview[int]:
        return self.area.slab(role.place, LAYOUT)


def _fills(cells: Sequence[int]) -> Iterator[Fill]:
    for table, cell in _PRESENT.items():
        if cells[cell]:
            yield Fill(table, cells[_TAKEN[table]], cells[_PLACES[table]] or None)
