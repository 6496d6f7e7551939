"""What others take from the kernel's tables, by ``nft flush ruleset`` or ``ip route``, put back."""

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
"""Seconds between looks: for so long, at most, is a prefix without its guard."""


class Upkeep:
    """Looks after the prefixes in *reservations*, and the guard of all; *condition* is told.

    So it is of what *others* put back: True when they had to.
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
        self._guarded = False  # there was a guard as it should be
        self._open_ports = NO_PORTS  # in it
        self._complaints: set[str] = set()

    def start(self) -> None:
        """Look now, and again and again."""
        self.look()
        self._loop.later(INTERVAL, self.start)

    def look(self) -> None:
        """Put back what is gone; where that fails, the rest is put back all the same."""
        steps: tuple[Callable[[], None], ...] = (
            *(partial(self._keep_reserved, prefix) for prefix in self._reservations.set_up),
            self._keep_guarded,
            *(partial(self._keep, other) for other in self._others),
        )
        complaints = {why for step in steps if (why := _complaint(step))}
        for why in sorted(complaints - self._complaints):  # once, not at every look
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
    """Why *step* could not be done, if it could not."""
    try:
        step()
    except guard.NoNftables:
        return ""  # which was said when the prefix was reserved
    except (FaithError, OSError) as error:
        return str(error)
    return ""
