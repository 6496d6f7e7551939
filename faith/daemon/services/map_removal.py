"""The end of sessions by static maps and prefixes that are gone: their packets get nowhere."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from faith.translation.address import number
from faith.translation.directions import V4_TO_V6
from faith.translation.map import TCP
from faith.translation.reasons import MAP_GONE, PREFIX_GONE

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.relay.relay import Relay
    from faith.relay.tcp.session import Session
    from faith.translation.map_table import Maps
    from faith.translation.prefix import Prefixes

SLICE = 200
"""Sessions a turn of the loop, which others do not notice."""

GONE_AFTER = 2.0
"""Seconds that a prefix may be gone before its sessions end: its route may be restored."""
ADOPTED_AFTER = 10.0
"""Seconds after which the sessions of the predecessor process have come, with their prefixes."""


class _Removal:
    """Resets the sessions of *relay* that its new policy does not lead where the old one did."""

    reason: str

    def __init__(self, loop: AbstractEventLoop, relay: Relay) -> None:
        self._loop = loop
        self._relay = relay
        self._left = iter(relay.sessions())
        self._go_on()

    def _go_on(self) -> None:
        some = list(islice(self._left, SLICE))
        for session in some:
            if session.end is None and self._concerns(session.parent or session):
                self._relay.kill(session, self.reason)
        if some:
            self._loop.call_soon(self._go_on)

    def _concerns(self, control: Session) -> bool:
        """Return whether a session goes by what is gone; *control* is it, or that of its data."""
        raise NotImplementedError


class MapRemoval(_Removal):
    """Resets the sessions of *relay* that had come by a map *before*, and would not now.

    A proxy's clients come by none, but what they are seen as may be a map's address.
    """

    reason = MAP_GONE

    def __init__(self, loop: AbstractEventLoop, relay: Relay, before: Maps) -> None:
        self._before = before
        super().__init__(loop, relay)

    def _concerns(self, control: Session) -> bool:
        route, now = control.route, self._relay.policy.maps
        if route.direction is V4_TO_V6 and not control.method:
            asked = number(route.mapped), TCP, control.mapped_port
            return self._before.find(*asked) is not None and now.find(*asked) is None
        client = number(control.client_host)
        source = self._before.to_v4(client, TCP)
        if source is None or source == now.to_v4(client, TCP):
            return False
        return route.source is not None and number(route.source) == source


class PrefixRemoval(_Removal):
    """Resets the sessions of *relay* with an end in a prefix that is there no more.

    That is the address that an IPv6 client asked for, or the one that stands for an IPv4 client,
    which was in a prefix *before*.
    """

    reason = PREFIX_GONE

    def __init__(self, loop: AbstractEventLoop, relay: Relay, before: Prefixes) -> None:
        self._before = before
        super().__init__(loop, relay)

    def _concerns(self, control: Session) -> bool:
        route, prefixes = control.route, self._relay.policy.prefixes
        if route.direction is not V4_TO_V6 and not control.method:
            return prefixes.find(number(route.mapped)) is None
        source = route.source
        if source is None or self._before.find(number(source)) is None:
            return False
        return prefixes.find(number(source)) is None
