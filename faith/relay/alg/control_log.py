"""The operator's log of one FTP control connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.relay.tcp.record import endpoint

if TYPE_CHECKING:
    from faith.ftp import Event
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.ftp")


class ControlLog:
    """Logs about *session* by its client and the mapped address."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._steps = log.isEnabledFor(logging.DEBUG)
        self._told_of_strangers = False

    def step(self, event: Event | str) -> None:
        """Log what is being done, where steps are asked for."""
        if self._steps:
            log.debug("%s: %s", self._name(), event)

    def warn(self, peer: str, text: str, detail: str = "") -> None:
        """Log that *peer* ("client", "server" or "gateway") did what *text* says."""
        log.warning("FTP %s: the %s: %s%s", self._name(), peer, text, detail and f" ({detail})")

    def stranger(self, host: str) -> None:
        """Log that *host* came for data of another's: once, as it may come very often."""
        if not self._told_of_strangers:
            self._told_of_strangers = True
            self.warn("gateway", "a data connection of somebody else was refused", host)

    def _name(self) -> str:
        session = self._session
        client = endpoint((session.client_host, session.client_port))
        return f"{client} to {endpoint((session.route.mapped, session.mapped_port))}"
