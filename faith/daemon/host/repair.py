"""Repair of kernel state that other programs removed, by ``nft flush ruleset`` or ``ip route``."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from faith.errors import FaithError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.reservation import keep_guarded
from faith.translation.ports import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.host.held_prefixes import Reservations
    from faith.daemon.observe.health import Condition
    from faith.daemon.process.loop import Loop
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

INTERVAL = 2.0
"""Seconds between checks: the longest time that a prefix is without its guard."""


class Upkeep:
    """The periodic repair of the prefixes in *reservations*, and of the guard; *condition* counts.

    *others* are further repairs: each returns True when it had to restore something.
    """

    def __init__(
        self,
        loop: Loop,
        reservations: Reservations,
        condition: Condition,
        others: Iterable[Callable[[], bool]] = (),
    ) -> None:
        self._loop = loop
        self._reservations = reservations
        self._others = tuple(others)
        self._condition = condition
        self._guarded = False  # an intact guard has been seen
        self._open_ports = NO_PORTS  # those of the guard
        self._complaints: set[str] = set()

    def start(self) -> None:
        """Check now, and then every `INTERVAL`."""
        self.look()
        self._loop.later(INTERVAL, self.start)

    def look(self) -> None:
        """Restore what is missing; a failure does not keep the rest from being restored."""
        steps: tuple[Callable[[], None], ...] = (
            *(partial(self._keep_reserved, prefix) for prefix in self._reservations.set_up),
            self._keep_guarded,
            *(partial(self._keep, other) for other in self._others),
        )
        complaints = {why for step in steps if (why := _complaint(step))}
        for why in sorted(complaints - self._complaints):  # once for each, not at every check
            self._condition.repaired(good=False)
            log.error("what somebody took away cannot be put back: %s", why)
        self._complaints = complaints

    def _keep_reserved(self, prefix: Prefix) -> None:
        if prefix not in routes.reserved():
            routes.reserve(prefix)
            self._condition.repaired(good=True)
            log.warning("somebody deleted the route of %s; it is reserved again", prefix)

    def _keep(self, other: Callable[[], bool]) -> None:
        if other():
            self._condition.repaired(good=True)

    def _keep_guarded(self) -> None:
        state = guard.inspect()
        if state.intact and all(map(state.covers, routes.reserved())):
            self._guarded = True
            self._open_ports = state.open_ports
        elif self._guarded:
            self._guarded = False  # until it is seen again: no repair is tried twice
            keep_guarded(open_ports=state.open_ports or self._open_ports)
            self._condition.repaired(good=True)
            log.warning("somebody altered the guard of the prefixes; it is as it was again")


def _complaint(step: Callable[[], None]) -> str:
    """Return why *step* failed; empty if it did not."""
    try:
        step()
    except guard.NoNftables:
        return ""  # logged when the prefix was reserved
    except (FaithError, OSError) as error:
        return str(error)
    return ""
