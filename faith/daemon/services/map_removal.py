"""The end of sessions by static maps that are gone: no packet of theirs gets through any more."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from faith.relay.tcp.routing import number
from faith.translation.map import TCP

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.relay.relay import Relay
    from faith.relay.tcp.session import Session
    from faith.translation.map_table import Maps

SLICE = 200
"""Sessions a turn of the loop, which others do not notice."""


class MapRemoval:
    """Resets the sessions of *relay* that had come by a map *before*, and would not now."""

    def __init__(self, loop: AbstractEventLoop, relay: Relay, before: Maps) -> None:
        self._loop = loop
        self._relay = relay
        self._before = before
        self._left = iter(relay.sessions())
        self._go_on()

    def _go_on(self) -> None:
        some = list(islice(self._left, SLICE))
        for session in some:
            if session.end is None and self._was_by_a_map(session):
                self._relay.kill(session)
        if some:
            self._loop.call_soon(self._go_on)

    def _was_by_a_map(self, session: Session) -> bool:
        control = session.parent or session
        mapped, now = control.route.mapped, self._relay.policy.maps
        if ":" not in mapped:
            asked = number(mapped), TCP, control.mapped_port
            return self._before.find(*asked) is not None and now.find(*asked) is None
        client = number(control.client_host)
        source = self._before.to_v4(client, TCP)
        if source is None or source == now.to_v4(client, TCP):
            return False
        return control.route.source is not None and number(control.route.source) == source
