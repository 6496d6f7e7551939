"""An FTP control connection: the translator's events done, on the two legs of a session."""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING

from faith import ftp
from faith.ftp import (
    CloseData,
    GoTransparent,
    Hangup,
    Log,
    OpenActive,
    OpenPassive,
    ToClient,
    ToServer,
    Translator,
)
from faith.kernel.sockets.tcp_sockets import unread
from faith.relay.alg.control_log import ControlLog
from faith.relay.alg.data_pinholes import DataPinholes
from faith.relay.alg.side import Side
from faith.relay.alg.timers import Timers
from faith.relay.tcp.plane import ERR, IN, OUT
from faith.translation.address import number
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.reasons import CLOSED, DEFECT, OUT_OF_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from faith.ftp import Event
    from faith.relay.alg.ftp_data import FtpData
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.ftp")

LINGER = 5.0
"""Seconds that both peers have to hang up after we did."""
PATIENCE = 10.0
"""Seconds of a server's silence until a reply that may have passed is taken to have."""

_TABLES = {V6_TO_V4: ftp.V6_TO_V4, V4_TO_V6: ftp.V4_TO_V6}

_EDGE = 1 << 31  # EPOLLET: a HUP that cannot be acted on yet is then told only once


class Control:
    """Serves *session*, whose server has just been connected, until it ends or is encrypted.

    Back-pressure: neither side is read while octets for the other wait, or while the translator
    does not want it.  *forget* is called when this is over.  Without *encrypted_data*, no data
    connection is expected of an encrypted session.
    """

    def __init__(
        self,
        data: FtpData,
        session: Session,
        forget: Callable[[Session], None],
        *,
        encrypted_data: bool = True,
    ) -> None:
        self.session = session
        self._data = data
        self._plane = data.plane
        self._forget = forget
        self._log = ControlLog(session)
        self._client = Side("client", session.client)
        self._server = Side("server", session.server)
        self._pinholes = DataPinholes(
            data, session, self._opened, self._refused, self._log.stranger
        )
        self._alg = Translator(
            _TABLES[session.route.direction],
            client=number(session.client_host),
            mapped=number(session.route.mapped),
            source=number(self._pinholes.source),
        )
        self._encrypted_data = encrypted_data
        self._secured = False
        self._steering = False
        self._leaving = ""  # how it ends, once we have hung up or are about to
        self._lost: Side | None = None  # the first; when all that it said has arrived, we are over
        self._timers = Timers(data.loop)

    def start(self) -> None:
        """Take the session over from the plane."""
        self._plane.unwatch(self.session.server.fd)
        self._watch_legs()
        self._settle()

    def _watch_legs(self) -> None:
        for side, _ in self._both():
            self._plane.watch(side.leg.fd, partial(self._ready, side), _EDGE)

    def end(self, how: str, *, reset: bool) -> None:
        """End the session with RSTs or FINs, and nobody is waited for any more."""
        if self.session.end is not None:
            return
        self._let_go()
        self._plane.end(self.session, how, reset=reset)

    def _let_go(self) -> None:
        for side, _ in self._both():
            self._plane.unwatch(side.leg.fd)
        self._pinholes.close_all()
        self._timers.cancel_all()
        self._data.resets.discard(self.session)
        self._forget(self.session)

    # -- in another process ------------------------------------------------------------------

    @property
    def can_be_handed_over(self) -> bool:
        """Return whether only the peers are waited for: no steering or listener is pending."""
        return not self._steering and not self._alg.waits

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the session: what `resume` goes on from, and the descriptors that go along."""
        pinholes, descriptors = self._pinholes.hand_over()
        state = {
            "alg": self._alg.state(),
            "outboxes": [side.outbox.state() for side, _ in self._both()],
            "doorways": pinholes,
            "encrypted_data": self._encrypted_data,
            "secured": self._secured,
            "hanging_up": bool(self._leaving),
            "leaving": self._leaving,
            "lingers": "linger" in self._timers,
        }
        self._let_go()
        return state, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is, with its descriptors."""
        self._alg.restore(state["alg"])
        for (side, _), waiting in zip(self._both(), state["outboxes"], strict=True):
            side.outbox.restore(waiting)
        self._pinholes.resume(state["doorways"], descriptors)
        self._encrypted_data = state.get("encrypted_data", True)
        self._secured = state["secured"]
        self._leaving = state.get("leaving", OUT_OF_STEP if state["hanging_up"] else "")
        self._watch_legs()
        if state["lingers"]:
            self._linger_on()
        self._watch()
        self._set_timers()

    # -- reading -----------------------------------------------------------------------------

    def _ready(self, side: Side, mask: int) -> None:
        self._guard(partial(self._hear, side, mask))

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            # The plane would call again, and again: it is this session's end.
            log.exception("a defect in the FTP ALG; the session that met it is cut")
            self.end(DEFECT, reset=True)

    def _hear(self, side: Side, mask: int) -> None:
        if mask & ERR:
            side.look()
        if mask & ~OUT and self._reads(side):
            self._read(side)
        self._settle()

    def _reads(self, side: Side) -> bool:
        other = self._server if side is self._client else self._client
        if side.leg.eof or (other.leg.done and other.lost) or (self._secured and not self._loses):
            return False
        if self._leaving:
            return True
        wants = self._alg.wants_client if side is self._client else self._alg.wants_server
        return wants and not other.outbox

    def _read(self, side: Side) -> None:
        got = side.read()
        if got is None:
            return
        data, urgent = got
        if side is self._server:
            self._timers.cancel("doubt")
        if self._leaving:
            return  # said too late
        if side is self._client:
            self._do(self._alg.from_client(data, urgent) if data else self._alg.client_ended())
        else:
            self._do(self._alg.from_server(data) if data else self._alg.server_ended())

    # -- doing what the translator says ------------------------------------------------------

    def _do(self, events: Iterable[Event]) -> None:
        for event in events:
            self._log.step(event)
            match event:
                case ToClient(data):
                    self._client.put(data)
                case ToServer(data, urgent):
                    self._server.put(data, urgent=urgent)
                case OpenPassive() | OpenActive():
                    self._pinholes.open(event)
                case CloseData(listener):
                    self._pinholes.close(listener)
                case GoTransparent():
                    self._secured = True
                    # From IPv4 every port is steered.
                    if self._encrypted_data and self.session.route.direction is V6_TO_V4:
                        self._steering = True
                        self._data.secured.add(self.session, self._steered)
                case Hangup():
                    self._leaving = OUT_OF_STEP
                case Log(peer, text, detail):
                    self._log.warn(peer, text, detail)

    def _go_on(self, step: Callable[[], Iterable[Event]]) -> None:
        """Do what the translator says of something that was waited for."""
        if self.session.end is None and not self._leaving:
            self._do(step())
            self._settle()

    def _opened(self, port: int) -> None:
        """The peer may hear of *port*: it gets there."""
        self._guard(partial(self._go_on, partial(self._alg.listening, port)))

    def _refused(self, reason: str) -> None:
        self._guard(partial(self._go_on, partial(self._alg.refused, reason)))

    def _overdue(self) -> None:
        if unread(self._server.leg.fd):  # this process had no turn: it is not the server's silence
            self._set_timers()
            return
        self._guard(partial(self._go_on, self._alg.overdue))

    def _steered(self) -> None:
        """The client may hear that AUTH was accepted: where it may connect to then, reaches us."""
        self._steering = False
        self._guard(self._settle)

    # -- sending, and what to wait for -------------------------------------------------------

    def _settle(self) -> None:
        """Send what can be sent, pass on what has ended, and choose what to wait for."""
        if self.session.end is not None:
            return
        if not self._steering:
            self._send()
            # A client that waits for the reply of a server that has ended is not read any more.
            server = self.session.server
            if self._leaving or (server.done and not server.error and not self._alg.wants_client):
                self._hang_up()
            if self._finish():
                return
        self._watch()
        self._set_timers()

    def _send(self) -> None:
        for side, other in self._both():
            leg = other.leg
            leg.moved += side.flush()
            if leg.eof and not leg.done and not side.outbox and self._is_through(other):
                leg.done = True
                if leg.error in (0, errno.EPIPE):  # EPIPE: a FIN came before the reset
                    side.shut_down()

    def _is_through(self, side: Side) -> bool:
        """Return whether all that *side* sent before its end was passed on to the other side."""
        if self._leaving:
            return True
        alg = self._alg
        return alg.client_is_through if side is self._client else alg.server_is_through

    def _both(self) -> tuple[tuple[Side, Side], ...]:
        return (self._client, self._server), (self._server, self._client)

    @property
    def _loses(self) -> bool:
        """Return whether at least one peer is lost: its leg has failed."""
        return self._client.lost or self._server.lost

    def _watch(self) -> None:
        for side, _ in self._both():
            interest = (IN if self._reads(side) else 0) | (
                OUT if side.outbox and not self._steering else 0
            ) or _EDGE
            if interest != side.interest:
                side.interest = interest
                self._plane.rewatch(side.leg.fd, interest)

    def _set_timers(self) -> None:
        if self._alg.doubts and not self._leaving:
            self._timers.start("doubt", PATIENCE, self._overdue)
        if self._loses and self._lost is None:
            self._lost = self._client if self._client.lost else self._server
            self._data.resets.add(self.session, self._lost.leg)

    # -- ends --------------------------------------------------------------------------------

    def reset(self) -> None:
        """End the session as one of its peers has ended it."""
        lost = self._lost or (self._client if self._client.lost else self._server)
        self.end(lost.loss, reset=True)

    def _finish(self) -> bool:
        """End the session, or leave it to the plane, if that is what is left to do."""
        if self._client.lost and self._server.lost:
            self.reset()
            return True
        if self._loses or self._client.outbox or self._server.outbox:
            return False
        client, server = self.session.client, self.session.server
        if client.eof and server.eof if self._leaving else client.done and server.done:
            self.end(CLOSED, reset=False)
            return True
        if self._secured:
            self._leave_to_plane()
        return self._secured

    def _leave_to_plane(self) -> None:
        """Leave the rest, which nobody but the peers can read, to the plane."""
        self._log.step("encrypted from here on")
        self._let_go()
        self._data.counters.ftp("encrypted")
        self._plane.dial(self.session.server)
        self._plane.start(self.session.server)

    def _hang_up(self) -> None:
        """Send FINs, and read on for a while: closing at once could take the last reply back."""
        if "linger" in self._timers or self._client.outbox or self._server.outbox:
            return
        self._leaving = self._leaving or CLOSED
        self._linger_on()
        for side, other in self._both():
            if not other.leg.done:
                other.leg.done = True
                side.shut_down()

    def _linger_on(self) -> None:
        self._timers.start("linger", LINGER, self._end_lingering)

    def _end_lingering(self) -> None:
        self.end(self._leaving, reset=self._leaving != CLOSED)
