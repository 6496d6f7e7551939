"""Repair of kernel state that other programs removed, by ``nft flush ruleset`` or ``ip route``."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.observe.log import NOTICE
from faith.errors import FaithError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard, translators
from faith.kernel.nft.reservation import keep_guarded
from faith.translation.ports import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.host.held_prefixes import HeldPrefixes
    from faith.daemon.observe.health import RelayHealth
    from faith.daemon.process.loop import Loop
    from faith.kernel.nft.guard import GuardState
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

INTERVAL = 2.0
"""Seconds between checks, where the kernel notifies of nothing."""


class Repair:
    """The repair of the prefixes in *reservations*, and of the guard; *condition* counts.

    It is done when the kernel notifies of a change, and every `INTERVAL`; nothing is read again
    that cannot have changed.  *others* are further repairs: each returns True when it had to
    restore something.
    """

    def __init__(
        self,
        loop: Loop,
        reservations: HeldPrefixes,
        condition: RelayHealth,
        others: Iterable[Callable[[], bool]] = (),
    ) -> None:
        self._loop = loop
        self._reservations = reservations
        self._others = tuple(others)
        self._condition = condition
        self._watch: translators.Watch | None = None
        self._reserved: tuple[Prefix, ...] | None = None  # as last read; None: to be read again
        self._generation = -1  # of nftables, when the guard was last seen as it should be
        self._guarded = False  # an intact guard has been seen
        self._open_ports = NO_PORTS  # those of the guard
        self._users = reservations.users  # those of the guard
        self._complaints: set[str] = set()

    def start(self) -> None:
        """Check now, and from now on."""
        with suppress(OSError):  # no nftables
            self._watch = translators.Watch()
            self._loop.watch(self._watch, self._rules_changed)
        self._again()

    def close(self) -> None:
        """Close the descriptor."""
        if self._watch:
            self._watch.close()

    def _again(self) -> None:
        if self._complaints:
            self._reserved = None
        self._look()
        self._loop.later(INTERVAL, self._again)

    def _rules_changed(self) -> None:
        if self._watch and self._watch.drain():
            self._look()

    def look(self) -> None:
        """Restore what is missing; a failure does not keep the rest from being restored.

        Call it when routes may have changed.
        """
        self._reserved = None
        self._look()

    def _look(self) -> None:
        steps: tuple[Callable[[], None], ...] = (
            self._keep_reserved,
            self._keep_guarded,
            *(partial(self._keep, other) for other in self._others),
        )
        complaints = {why for step in steps if (why := _complaint(step))}
        for why in sorted(complaints - self._complaints):  # once for each, not at every check
            self._condition.repaired(good=False)
            log.error("cannot restore missing kernel state: %s", why)
        self._complaints = complaints

    def _keep_reserved(self) -> None:
        if self._reserved is not None:
            return
        there = set(routes.reserved())
        gone = [prefix for prefix in self._reservations.set_up if prefix not in there]
        try:
            if gone:
                routes.reserve(*gone, owner=routes.OF_DAEMONS)
        finally:
            self._reserved = tuple(routes.reserved())
            self._generation = -1
        for prefix in gone:
            self._condition.repaired(good=True)
            log.warning("the route of %s was deleted by another program; reserved it again", prefix)

    def _keep(self, other: Callable[[], bool]) -> None:
        if other():
            self._condition.repaired(good=True)

    def _keep_guarded(self) -> None:
        if not self._reserved and not self._guarded:
            return  # a proxy alone has no prefix, and may have no rights to look
        generation = guard.PREFIXES.generation()
        if generation == self._generation:
            return
        state = guard.inspect()
        if state.intact and all(map(state.covers, self._reserved or ())):
            self._guarded = True
            self._open_ports = state.open_ports
            self._users |= state.users
            self._fit(state)
            self._generation = guard.PREFIXES.generation()
        elif self._guarded:
            self._guarded = False  # until it is seen again: no repair is tried twice
            keep_guarded(open_ports=state.open_ports or self._open_ports, users=self._users)
            self._condition.repaired(good=True)
            log.warning("the guard of the prefixes was changed by another program; restored it")

    def _fit(self, state: GuardState) -> None:
        """Adapt an intact guard to chains that translate, and to the users of this daemon."""
        if not state.fits or not state.users >= self._users:
            keep_guarded(users=self._users)
        if state.translators and not state.fits:
            log.log(
                NOTICE,
                "other programs translate addresses (%s): the guard keeps the prefixes from that",
                ", ".join(map(str, state.translators)),
            )


def _complaint(step: Callable[[], None]) -> str:
    """Return why *step* failed; empty if it did not."""
    try:
        step()
    except guard.NoNftables:
        return ""  # logged when the prefix was reserved
    except (FaithError, OSError) as error:
        return str(error)
    return ""
