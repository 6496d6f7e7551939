"""The translator: both streams of a control connection in, what is to be done out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.ftp import command
from faith.ftp.alg import Alg
from faith.ftp.command import CommandRefused
from faith.ftp.data_port import (
    NeedsListener,
    PassiveTranslated,
    no_data_connection,
    tells_port,
)
from faith.ftp.events import (
    CloseData,
    GoTransparent,
    Hangup,
    Log,
    OpenActive,
    OpenPassive,
    ToClient,
    ToServer,
)
from faith.ftp.exchange import Substituted, out_of_step
from faith.ftp.listeners import Listeners
from faith.ftp.pending_replies import Debt
from faith.ftp.reply import ReplyLine, ReplyReader
from faith.ftp.state import CLIENT_SPEAKS, SERVER_SPEAKS, TRANSITIONS, State, Step
from faith.ftp.telnet import Line, Reader, Refusal, Signal

if TYPE_CHECKING:
    from faith.ftp.direction import Direction
    from faith.ftp.events import Event
    from faith.ftp.exchange import Exchange

REFUSALS = 512
"""Attempts to negotiate that are refused in a session: every option, once on and once off."""

_STEPS: dict[type[Event], Step] = {
    OpenActive: Step.NEEDS_LISTENER,
    OpenPassive: Step.NEEDS_LISTENER,
    GoTransparent: Step.SECURED,
    Hangup: Step.OUT_OF_STEP,
}
_AFTER_LISTENER = {State.ACTIVE_LISTENER: Step.ASKED, State.PASSIVE_LISTENER: Step.DONE}


class Translator:
    """The ALG for one control connection; :mod:`faith.ftp` tells how to use it.

    *client* is the client's address, *mapped* the one it connected to, *source* the one the server
    sees, all as numbers.  Without *active* the server cannot connect to the gateway, which may be
    behind a NAT of its own: then commands for active mode go to the server as they are.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        client: int,
        mapped: int,
        source: int,
        active: bool = True,
    ) -> None:
        self._alg = Alg(direction, client, mapped, source, active=active)
        self._from_client = Reader()
        self._from_server = Reader()
        self._replies = ReplyReader()
        self._state = State.COMMAND
        self._exchange: Exchange | None = None
        self._begun: tuple[Line, Listeners] | None = None  # what the exchange was made of
        self._debt = Debt()  # replies to what came before the exchange
        self._ours = False  # the reply that is being read is to the exchange
        self._passed = False  # one that may have been to it was taken for another's
        self._ports_owed = 0  # replies to PASV or EPSV that are to come, or were something else
        self._too_late = False  # the reply that is being read is one of these, and nobody waits
        self._opened = 0  # listeners that were asked for
        self._listeners: list[int] = []  # those that were not closed by an event
        self._refusals = 0
        self._logged: set[str] = set()
        self._events: list[Event] = []

    # -- the face of it ----------------------------------------------------------------------

    @property
    def wants_client(self) -> bool:
        """Return whether to read the client; data fed while it is false is kept, without bound."""
        return self._state in CLIENT_SPEAKS

    @property
    def wants_server(self) -> bool:
        """Return whether to read the server; data fed while it is false is kept, without bound."""
        return self._state in SERVER_SPEAKS

    @property
    def waits(self) -> bool:
        """Return whether a call of ``listening`` or ``refused`` has to follow."""
        return self._state in _AFTER_LISTENER

    @property
    def client_is_through(self) -> bool:
        """Return whether the client has ended and all it sent was acted upon: send its FIN on."""
        return self._from_client.is_over and self._state is not State.ACTIVE_LISTENER

    @property
    def server_is_through(self) -> bool:
        """Return whether the server has ended and all it sent was acted upon: send its FIN on."""
        return self._from_server.is_over and self._state is not State.PASSIVE_LISTENER

    @property
    def doubts(self) -> bool:
        """Return whether the awaited reply may have been read already: see ``overdue``."""
        return (
            self._state is State.REPLY
            and not self._debt.under_way
            and (self._passed or self._replies.may_be_over)
        )

    @property
    def held(self) -> int:
        """The octets of both streams that are kept."""
        return len(self._from_client) + len(self._from_server)

    def from_client(self, data: bytes, urgent: bool = False) -> list[Event]:
        """Return the events for *data* from the client; if *urgent*, its last octet was urgent."""
        return self._fed(self._from_client, data, urgent)

    def from_server(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the server."""
        return self._fed(self._from_server, data)

    def client_ended(self) -> list[Event]:
        """Return the events for the client's end, after which an unfinished line is a line."""
        self._from_client.end()
        return self._run()

    def server_ended(self) -> list[Event]:
        """Return the events for the server's end, after which an unfinished line is a line."""
        self._from_server.end()
        return self._run()

    def overdue(self) -> list[Event]:
        """Return the events for a server that is silent for a while when the translator ``doubts``.

        Replies pass in their order, whichever command each was matched to: the client may go on.
        """
        if not self.doubts or self._exchange is None:
            return []
        if self._ours:
            events = self._exchange.hear(ReplyLine(b"", self._replies.code, False, True, False))
        else:
            events = self._exchange.presume()
        self._replies.close()
        self._ours = False
        self._debt.forgive()
        self._follow([event for event in events if event != ToClient(b"")], Step.DONE)
        return self._run()

    def listening(self, port: int) -> list[Event]:
        """Return the events for the listener of the last OpenPassive or OpenActive, now at *port*.

        Raises RuntimeError if no listener is waited for.
        """
        return self._answered(self._waiting().listening(port))

    def refused(self, reason: str) -> list[Event]:
        """Return the events for that listener when it could not be had, for this *reason*.

        Raises RuntimeError if no listener is waited for.
        """
        exchange = self._waiting()
        self._listeners.pop()
        return self._answered(exchange.refused(reason))

    # -- in another process ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore` of a translator for the same peers, fit for JSON."""
        begun = None
        if self._begun and self._exchange:
            line, listeners = self._begun
            command = line.data.decode("latin-1"), line.starts, line.ends, line.urgent
            begun = [command, listeners.new, listeners.old, self._exchange.state()]
        return {
            "enabled": self._alg.enabled,
            "client": self._from_client.state(),
            "server": self._from_server.state(),
            "replies": self._replies.state(),
            "state": self._state.name,
            "begun": begun,
            "debt": self._debt.state(),
            "ours": self._ours,
            "passed": self._passed,
            "ports_owed": self._ports_owed,
            "too_late": self._too_late,
            "opened": self._opened,
            "listeners": self._listeners,
            "refusals": self._refusals,
            "logged": sorted(self._logged),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made for the same peers, where the one stopped whose :meth:`state` it is."""
        self._alg.enabled = state["enabled"]
        self._from_client.restore(state["client"])
        self._from_server.restore(state["server"])
        self._replies.restore(state["replies"])
        if state["begun"]:
            (data, *flags), new, old, exchange = state["begun"]
            self._begin_again(Line(data.encode("latin-1"), *flags), Listeners(new, tuple(old)))
            assert self._exchange
            self._exchange.restore(exchange)
        self._state = State[state["state"]]
        self._debt.restore(state["debt"])
        self._ours = state["ours"]
        self._passed = state.get("passed", False)
        self._ports_owed = state.get("ports_owed", 0)
        self._too_late = state.get("too_late", False)
        self._opened = state["opened"]
        self._listeners = list(state["listeners"])
        self._refusals = state["refusals"]
        self._logged = set(state["logged"])

    def _begin_again(self, line: Line, listeners: Listeners) -> None:
        """Make the exchange for a command anew; what it does at its beginning was done."""
        self._begun = line, listeners
        self._exchange = self._exchange_for(line, listeners)
        self._events.clear()

    # -- the two streams ---------------------------------------------------------------------

    def _fed(self, reader: Reader, data: bytes, urgent: bool = False) -> list[Event]:
        if self._state is not State.CLOSED:
            reader.feed(data, urgent)
        return self._run()

    def _run(self) -> list[Event]:
        """Look at all that can be looked at: the client first, however the streams were split."""
        while self._look_at_client() or self._look_at_server():
            pass
        if self._state is State.TRANSPARENT:
            self._carry()
        events, self._events = self._events, []
        return events

    def _carry(self) -> None:
        for data, urgent in self._from_client.rest():
            self._emit(ToServer(data, urgent))
        for data, _ in self._from_server.rest():
            self._emit(ToClient(data))

    def _look_at_client(self) -> bool:
        item = self._from_client.next() if self._state is State.COMMAND else None
        match item:
            case Line():
                self._command(item)
            case Signal(pieces):
                for data, urgent in pieces:
                    self._emit(ToServer(data, urgent))
            case Refusal(data):
                self._refuse("client", ToClient(data))
        return item is not None

    def _look_at_server(self) -> bool:
        reads = self._state in SERVER_SPEAKS and self._state is not State.TRANSPARENT
        item = self._from_server.next() if reads else None
        match item:
            case Line():
                self._reply(self._read_reply(item))
            case Refusal(data):
                self._refuse("server", ToServer(data))
        return item is not None

    def _refuse(self, peer: str, answer: ToClient | ToServer) -> None:
        self._refusals += 1
        if self._refusals <= REFUSALS:
            self._emit(answer)
        else:
            self._follow(out_of_step(peer, "Telnet negotiation without end"), Step.OUT_OF_STEP)

    # -- commands ----------------------------------------------------------------------------

    def _command(self, line: Line) -> None:
        if not line.starts:
            return  # the beginning was refused
        if self._replies.may_be_over:  # to the client it was, or it would not go on
            self._replies.close()
        self._debt.go_on()
        self._passed = False
        listeners = Listeners(self._opened + 1, tuple(self._listeners))
        exchange = self._exchange_for(line, listeners)
        if exchange is None:
            self._debt.add(command.read(line.data).verb)
            self._emit(ToServer(line.data, line.urgent))
        else:
            self._exchange = exchange
            self._begun = line, listeners
            self._ports_owed += isinstance(exchange, PassiveTranslated)
            self._follow(exchange.begin(), Step.ASKED)

    def _exchange_for(self, line: Line, listeners: Listeners) -> Exchange | None:
        try:
            return self._alg.exchange_for(line, listeners)
        except CommandRefused as refusal:
            if refusal.log:
                self._emit(Log("client", refusal.log, refusal.detail))
            return Substituted(refusal.reply)

    # -- replies -----------------------------------------------------------------------------

    def _read_reply(self, line: Line) -> ReplyLine:
        # What is asked for is no part of a reply to something else, of which the end was missed.
        if self._ports_owed and line.starts and tells_port(line.data):
            self._replies.close()
        return self._replies.read(line)

    def _reply(self, line: ReplyLine) -> None:
        if line.starts:
            self._place(line.code)
        if self._too_late:
            self._emit(*([no_data_connection()] if line.ends else []))
            self._too_late = not line.ends
        elif self._ours and self._exchange and line.code:
            events = self._exchange.hear(line)
            if line.completes:
                self._follow(events, Step.DONE)
            else:
                self._emit(*events)
        else:
            self._emit(ToClient(line.data))

    def _place(self, code: int) -> None:
        """Decide what a reply of that *code*, which begins, is to."""
        self._ours = self._too_late = False
        exchange = self._exchange if self._state is State.REPLY else None
        if self._ports_owed and code in PassiveTranslated.codes:
            self._ports_owed -= 1
            self._too_late = exchange is None or code not in exchange.codes
            if self._too_late:
                return
        theirs = self._debt.settle(code, exchange.codes if exchange else None)
        self._ours = exchange is not None and not theirs
        if exchange and theirs and (code >= 400 or (code >= 200 and not exchange.codes)):
            self._passed = True

    # -- what comes of it --------------------------------------------------------------------

    def _waiting(self) -> NeedsListener:
        if self._state not in _AFTER_LISTENER:
            raise RuntimeError("no listener was asked for")
        assert isinstance(self._exchange, NeedsListener)
        return self._exchange

    def _answered(self, events: list[Event]) -> list[Event]:
        self._follow(events, _AFTER_LISTENER[self._state])
        return self._run()

    def _follow(self, events: list[Event], otherwise: Step) -> None:
        """Emit *events*, and take the step that one of them stands for."""
        steps = [_STEPS[type(event)] for event in events if type(event) in _STEPS]
        self._state = TRANSITIONS[self._state, steps[0] if steps else otherwise]
        self._emit(*events)

    def _emit(self, *events: Event) -> None:
        for event in events:
            match event:
                case OpenPassive(listener) | OpenActive(listener):
                    self._opened = listener
                    self._listeners.append(listener)
                case CloseData(listener):
                    self._listeners.remove(listener)
                case Log(text=text):
                    if text in self._logged:
                        continue
                    self._logged.add(text)
                case GoTransparent():
                    self._carry()
                case Hangup():
                    self._from_client, self._from_server = Reader(), Reader()
            self._events.append(event)
