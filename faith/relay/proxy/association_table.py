"""The associations of one worker, and where they send to: their limits, shares and times."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from faith.kernel.sockets.datagram_batch import Batch
from faith.translation.reasons import CLIENT_FLOWS, CLIENT_SHARE, EXPIRED
from faith.translation.shares import Counts
from faith.translation.udp.flows import Flow, Flows

if TYPE_CHECKING:
    import socket
    from asyncio import AbstractEventLoop, TimerHandle

    from faith.relay.tcp.relay_counters import Counters
    from faith.translation.udp.flows import Key, UdpSettings

LARGEST = 65535
"""Octets of a datagram: nothing is ever cut."""
SIZE = 16
"""Datagrams that one socket is read of before the others have their turn."""
PLACES = 8
"""Of so many sessions that a worker has room for, one may be an association, with more sockets."""
SWEEP = 1.0
"""Seconds between two looks at what has expired."""


class Holder(Protocol):
    """Whoever sends by a flow; it is what the flow has as its ends."""

    def over(self, why: str) -> None:
        """Take note that the flow has ended as *why*."""


class AssociationTable:
    """The table of all associations of one worker.

    What a client sends to is a flow of it, by the limits and times of UDP flows.  The worker has
    room for so many *sessions*.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        settings: UdpSettings,
        counters: Counters,
        sessions: int,
    ) -> None:
        self._loop = loop
        self._counters = counters
        self._flows = Flows(settings)
        self._associations = Counts(max(sessions // PLACES, 1))
        self._batches: dict[int, Batch] = {}
        self._serials = itertools.count()
        self._sweeper: TimerHandle | None = None

    def limit(self, settings: UdpSettings) -> None:
        """Apply other *settings* from now on."""
        self._flows.settings = settings

    def batch(self, family: socket.AddressFamily) -> Batch:
        """Return the room for what is read of a socket of *family*."""
        found = self._batches.get(family)
        if found is None:
            found = self._batches[family] = Batch(family, LARGEST, 0, SIZE)
        return found

    # -- associations ------------------------------------------------------------------------

    def refuses(self, client: int) -> str | None:
        """Return why *client*, by its number among shares, gets no association, or None."""
        return None if self._associations.admits(client) else CLIENT_SHARE

    def serial(self) -> int:
        """Return a number for the keys of the flows of one association."""
        return next(self._serials)

    def enter(self, client: int) -> None:
        """Take a place for an association of *client*."""
        self._associations.add(client)
        self._counters.associations(len(self._associations))
        if self._sweeper is None:
            self._sweep()

    def leave(self, client: int) -> None:
        """Give such a place back."""
        self._associations.remove(client)
        self._counters.associations(len(self._associations))
        if not len(self._associations):
            self.close()

    def close(self) -> None:
        """Rest: there is no association."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._batches.clear()

    # -- flows -------------------------------------------------------------------------------

    def begin(self, key: Key, address: int, holder: Holder, to: tuple[int, int]) -> Flow | str:
        """Return a new flow of the client at *address*, of 128 bits, or why there is none.

        *holder* sends by it, first to that address and port.
        """
        flows, now = self._flows, self._loop.time()
        why = flows.refuses(address)
        if why is not None:
            displaced = flows.make_room(address)
            if displaced is None:
                return why
            self._counters.datagram_refused(CLIENT_FLOWS)
            displaced.ends.over(CLIENT_FLOWS)
        flow = Flow(key, address, holder)
        flow.opened, flow.first = now, to
        flows.add(flow)
        flows.touch(flow, *to, now)
        return flow

    def touch(self, flow: Flow, now: float) -> None:
        """Keep *flow*, by which something was sent; the caller need not repeat it for `LOOK`."""
        self._flows.touch(flow, *flow.first, now)

    def end(self, flow: Flow) -> None:
        """End *flow*; nobody is told."""
        self._flows.remove(flow)

    def _sweep(self) -> None:
        for flow in self._flows.expire(self._loop.time()):
            flow.ends.over(EXPIRED)
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
