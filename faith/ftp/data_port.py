"""Exchanges about data connections: a port is asked for, or told, and a listener made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from faith.ftp import notation
from faith.ftp.events import CloseData, Log, OpenActive, OpenPassive, ToClient, ToServer, quoted
from faith.ftp.exchange import Exchange, PassedOn, Substituted, to_client, to_server

if TYPE_CHECKING:
    from faith.ftp import direction
    from faith.ftp.events import Event
    from faith.ftp.notation import Endpoint
    from faith.ftp.reply import ReplyLine

_NO_DATA_CONNECTION = "425 Can't open data connection"


@runtime_checkable
class NeedsListener(Protocol):
    """An exchange that asks for a listener, with OpenActive or OpenPassive."""

    def listening(self, port: int) -> list[Event]:
        """What to do with the listener's port."""

    def refused(self, reason: str) -> list[Event]:
        """What to do without a listener."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The number that a new listener is to have, and those of the listeners that it replaces."""

    new: int
    old: tuple[int, ...]

    def close_old(self) -> list[Event]:
        """What to do when the server has moved on, too."""
        return [CloseData(listener) for listener in self.old]


class PassiveTranslated(Exchange):
    """A client's *command* for a port, put to the *server* in its own words."""

    def __init__(
        self,
        command: direction.Passive,
        server: direction.Server,
        mapped: Endpoint,
        listeners: Listeners,
    ) -> None:
        self.codes = frozenset((server.code,))
        self._listeners = listeners
        self._command = command
        self._server = server
        self._mapped = mapped

    def begin(self) -> list[Event]:
        return [to_server(self._server.passive)]

    def hear(self, line: ReplyLine) -> list[Event]:
        if line.code != self._server.code:
            return [ToClient(line.data)]
        if not line.ends:
            return []
        port = self._server.port(line.data) if line.fresh else None
        closed = self._listeners.close_old()
        if port is None:
            log = Log("server", f"no port in a reply {line.code}", quoted(line.data))
            return [*closed, log, to_client(_NO_DATA_CONNECTION)]
        return [*closed, OpenPassive(self._listeners.new, port)]

    def listening(self, port: int) -> list[Event]:
        return [to_client(self._command.reply(self._mapped._replace(port=port)))]

    def refused(self, reason: str) -> list[Event]:
        return [_no_listener(reason), to_client(_NO_DATA_CONNECTION)]


class ActiveTranslated(Exchange):
    """A client's command to connect to its *port*: the *server* is told one at *source*.

    A transfer that the server has yet to begin may need the listener from before: it stays until
    the server has agreed to the new one.
    """

    def __init__(
        self, port: int, server: direction.Server, source: Endpoint, listeners: Listeners
    ) -> None:
        self._listeners = listeners
        self._port = port
        self._server = server
        self._source = source
        self._instead: Substituted | None = None

    def begin(self) -> list[Event]:
        return [OpenActive(self._listeners.new, self._port)]

    def listening(self, port: int) -> list[Event]:
        return [to_server(self._server.active(self._source._replace(port=port)))]

    def refused(self, reason: str) -> list[Event]:
        self._instead = Substituted(_NO_DATA_CONNECTION)
        return [_no_listener(reason), *self._instead.begin()]

    def state(self) -> list[Any]:
        return [self._instead is not None]

    def restore(self, state: list[Any]) -> None:
        self._instead = Substituted(_NO_DATA_CONNECTION) if state[0] else None

    def hear(self, line: ReplyLine) -> list[Event]:
        if self._instead:
            return self._instead.hear(line)
        passed: list[Event] = [ToClient(line.data)]
        if not line.completes:
            return passed
        if line.code >= 300:
            return [*passed, CloseData(self._listeners.new)]
        return [*passed, *self._listeners.close_old()]


class PassiveUntouched(PassedOn):
    """A command for a port while translation is disabled: the reply tells the server's own."""

    codes = frozenset((227, 229))
    _ports: ClassVar = {227: notation.port_of_227, 229: notation.port_of_229}

    def __init__(self, command: ToServer, listeners: Listeners) -> None:
        super().__init__(command)
        self._listeners = listeners
        self._reply = ToClient(b"")

    def hear(self, line: ReplyLine) -> list[Event]:
        self._reply = ToClient(line.data)
        find = self._ports.get(line.code) if line.fresh and line.ends else None
        port = find(line.data) if find else None
        if port is None:
            return [self._reply]
        opened = OpenPassive(self._listeners.new, port, same_port=True)
        return [*self._listeners.close_old(), opened]

    def state(self) -> list[Any]:
        return [self._reply.data.decode("latin-1")]

    def restore(self, state: list[Any]) -> None:
        self._reply = ToClient(state[0].encode("latin-1"))

    def listening(self, port: int) -> list[Event]:
        return [self._reply]

    def refused(self, reason: str) -> list[Event]:
        return [_no_listener(reason), self._reply]


def _no_listener(reason: str) -> Log:
    return Log("gateway", "no listener for a data connection", reason)
