"""The end of a daemon: nobody new is served, and sessions may end by themselves or not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.daemon.observe.log import NOTICE
from faith.daemon.process import systemd

if TYPE_CHECKING:
    from collections.abc import Collection

    from faith.daemon.observe.health import RelayHealth
    from faith.daemon.process.loop import Loop
    from faith.daemon.services.interface import Service
    from faith.daemon.services.relaying import Relaying
    from faith.daemon.upgrade.upgrades import Upgrades

log = logging.getLogger("faith.supervisor")

GRACE = 2.0
"""Seconds a worker has to end once it was told to reset its sessions."""


class Shutdown:
    """Ends what a daemon does; its *loop* is stopped some seconds after `hasten`."""

    def __init__(
        self,
        loop: Loop,
        relaying: Relaying,
        services: Collection[Service],
        upgrades: Upgrades,
        condition: RelayHealth,
    ) -> None:
        self._loop = loop
        self._relaying = relaying
        self._services = services
        self._upgrades = upgrades
        self._condition = condition
        self.has_begun = False
        """True once no new connection is accepted."""

    def begin(self, seconds: float | None) -> None:
        """Take no more connections, and end with the last session, or after *seconds*."""
        self.has_begun = True
        self._upgrades.close()
        self._condition.drain()
        systemd.notify("STOPPING=1")
        limit = "all the time they want" if seconds is None else f"{seconds:g} s"
        log.log(NOTICE, "stopping: sessions have %s to end", limit)
        if seconds is not None:
            self._loop.later(seconds, self.hasten)
        for service in self._services:
            service.drain()

    def hasten(self) -> None:
        """Reset the sessions that are left."""
        self._relaying.reset_sessions()
        self._loop.later(GRACE, self._loop.stop)
