"""The process of the kernel path: a datagram process that is asked about its flows, too."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import close_all
from faith.daemon.process.messages import Drain, Give, Kept, Kill, Killed, SessionList, Sessions
from faith.daemon.services.datagram_process import DatagramProcess
from faith.daemon.services.session_dump import SessionDump
from faith.daemon.services.session_kill import SessionKill
from faith.daemon.services.session_queries import selected
from faith.relay.tcp.record import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.process.messages import Order
    from faith.flow.brain import Brain
    from faith.flow.flow_view import FlowView
    from faith.translation.selection import Selection


_LOOK = 0.25
"""Seconds between two looks whether the last flow has ended."""


class FlowProcess(DatagramProcess):
    """A process whose server is a brain, which has flows and can end them."""

    _server: Brain
    _is_abandoned = False

    def handlers(self) -> dict[type[Order], Callable[[Any, list[int]], None]]:
        """Return what handles each order that it takes."""
        return {
            **super().handlers(),
            Drain: lambda order, _: self._drain(),
            Sessions: lambda order, _: self._list_flows(order),
            Kill: lambda order, _: self._kill_flow(order),
        }

    def end(self) -> None:
        """End what is left, or leave it to the next daemon if this one was killed."""
        if self._is_abandoned:
            self._server.leave()
        else:
            super().end()

    def _abandoned(self) -> None:
        self._is_abandoned = True
        super()._abandoned()

    def _drain(self) -> None:
        """Open no flow from now on, and end with the last one."""
        self._server.drain()
        self._end_with_the_last()

    def _end_with_the_last(self) -> None:
        if self._server.count:
            self._loop.call_later(_LOOK, self._end_with_the_last)
        else:
            self._loop.stop()

    def _give(self, order: Give, descriptors: list[int]) -> None:
        """Hand over, unless the flows are of a layout that only this program knows."""
        if self._server.drains:
            close_all(descriptors)
            self._channel.send(Kept(self._server.count))
        else:
            super()._give(order, descriptors)

    def _list_flows(self, order: Sessions) -> None:
        wanted = selected(order.wanted)
        flows = self._server.sessions()
        fields = (_fields(view) if _is_in(view, wanted) else None for view in flows)
        SessionDump(self._loop, fields, partial(self._tell_flows, order.question))

    def _tell_flows(self, question: int, file: int) -> None:
        with suppress(OSError):  # whoever asks will ask again
            self._channel.send(SessionList(question), [file])

    def _kill_flow(self, order: Kill) -> None:
        wanted = selected(order.wanted)
        found = (
            view.serial
            for view in self._server.sessions()
            if order.serial in (None, view.serial) and _is_in(view, wanted)
        )
        SessionKill(
            self._loop, found, self._server.kill, partial(self._tell_killed, order.question)
        )

    def _tell_killed(self, question: int, ended: int) -> None:
        with suppress(OSError):
            self._channel.send(Killed(question, ended))


def _is_in(view: FlowView, wanted: Selection) -> bool:
    return wanted.includes(view.client, view.server, lambda: view.source)


def _fields(view: FlowView) -> dict[str, Any]:
    """Return the fields listed for an open flow, as those of a relayed session."""
    return {
        "serial": view.serial,
        "client": endpoint(view.client),
        "mapped": endpoint(view.mapped),
        "server": endpoint(view.server),
        "source": endpoint(view.source),
        "seconds": round(view.age, 3),
        "sent": view.sent,
        "received": view.received,
        "stage": view.state,
    }
