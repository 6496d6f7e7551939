"""Exchanges about data connections: a port is asked for, or told, and a listener made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from faith.ftp import notation
from faith.ftp.events import CloseData, Log, OpenActive, OpenPassive, ToClient, ToServer, quoted
from faith.ftp.exchange import Exchange, PassedOn, Substituted, to_client, to_server
from faith.ftp.reply import read_code

if TYPE_CHECKING:
    from faith.ftp import direction
    from faith.ftp.events import Event
    from faith.ftp.listeners import Listeners
    from faith.ftp.notation import Endpoint
    from faith.ftp.reply import ReplyLine

_NO_DATA_CONNECTION = "425 Can't open data connection"
_PORTS = {227: notation.port_of_227, 229: notation.port_of_229}


def tells_port(line: bytes) -> bool:
    """Return whether *line* of a server's would be a whole reply, with a port to connect to."""
    code, ends = read_code(line)
    return ends and code in _PORTS and _PORTS[code](line) is not None


def no_data_connection() -> ToClient:
    """The reply to a client that cannot have a data connection now."""
    return to_client(_NO_DATA_CONNECTION)


@runtime_checkable
class NeedsListener(Protocol):
    """An exchange that asks for a listener, with OpenActive or OpenPassive."""

    def listening(self, port: int) -> list[Event]:
        """Return the events for a listener that is open at *port*."""

    def refused(self, reason: str) -> list[Event]:
        """Return the events for a listener that could not be had, for this *reason*."""


class PassiveTranslated(Exchange):
    """A client's *command* for a port, put to the *server* in its own words.

    Servers exist that answer PASV with 229; a port is a port.
    """

    codes = frozenset(_PORTS)

    def __init__(
        self,
        command: direction.Passive,
        server: direction.Server,
        mapped: Endpoint,
        listeners: Listeners,
    ) -> None:
        self._listeners = listeners
        self._command = command
        self._server = server
        self._mapped = mapped

    def begin(self) -> list[Event]:
        return [to_server(self._server.passive)]

    def hear(self, line: ReplyLine) -> list[Event]:
        if line.code not in _PORTS:
            return [ToClient(line.data)]
        if not line.ends:
            return []
        port = _PORTS[line.code](line.data) if line.fresh else None
        closed = self._listeners.close_old()
        if port is None:
            log = Log("server", f"no port in a reply {line.code}", quoted(line.data))
            return [*closed, log, no_data_connection()]
        return [*closed, OpenPassive(self._listeners.new, port)]

    def listening(self, port: int) -> list[Event]:
        return [to_client(self._command.reply(self._mapped._replace(port=port)))]

    def refused(self, reason: str) -> list[Event]:
        return [_no_listener(reason), no_data_connection()]


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

    def presume(self) -> list[Event]:
        return self._instead.presume() if self._instead else self._listeners.close_old()

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

    codes = frozenset(_PORTS)

    def __init__(self, command: ToServer, listeners: Listeners) -> None:
        super().__init__(command)
        self._listeners = listeners
        self._reply = ToClient(b"")

    def hear(self, line: ReplyLine) -> list[Event]:
        self._reply = ToClient(line.data)
        find = _PORTS.get(line.code) if line.fresh and line.ends else None
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
