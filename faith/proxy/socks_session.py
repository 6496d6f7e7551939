"""A client of SOCKS, of either version, from its request to the tunnel."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from faith.proxy.proxy_events import (
    Associate,
    Bind,
    Dial,
    Event,
    HangUp,
    Refused,
    Target,
    ToClient,
    Tunnel,
)
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_rules import ProxyRules

CONNECT, BIND, ASSOCIATE = 1, 2, 3


class Stage(Enum):
    """Stages of a client, by what is waited for."""

    METHODS = auto()
    """The client's methods of authentication."""
    PASSWORD = auto()
    """Its user and password."""
    USER = auto()
    """The answer to CheckUser."""
    REQUEST = auto()
    """The client's request."""
    SERVER = auto()
    """The answer to Dial, Bind or Associate."""
    PEER = auto()
    """The connection that Bind listens for."""
    ASSOCIATED = auto()
    """Nothing but the end of the client: datagrams pass elsewhere."""
    OVER = auto()
    """Nothing any more: whatever comes is dropped."""


READ = frozenset((Stage.METHODS, Stage.PASSWORD, Stage.REQUEST))


class SocksSession:
    """One client of SOCKS: :mod:`faith.proxy` tells how to drive it."""

    method: str

    def __init__(self, rules: ProxyRules, first: Stage) -> None:
        self.rules = rules
        self.stage = first
        self.buffer = bytearray()
        self._command = CONNECT

    # -- what the versions differ in -------------------------------------------------------------

    def _read(self) -> list[Event] | None:
        """Return what comes of the next message in the buffer, None while it is not whole."""
        raise NotImplementedError

    def _granted(self, host: str, port: int) -> bytes:
        """Return the reply that the request was granted; the server sees *host* and *port*."""
        raise NotImplementedError

    def _refusal(self, why: str) -> bytes:
        """Return the reply that the request was refused for that reason."""
        raise NotImplementedError

    # -- the common face -------------------------------------------------------------------------

    @property
    def wants_client(self) -> bool:
        """Return whether to read the client; data fed while it is false is kept, without bound."""
        return self.stage in READ or self.stage is Stage.ASSOCIATED

    @property
    def awaits_request(self) -> bool:
        """Return whether it is the client's turn to ask for something, or to say who it is."""
        return self.stage in READ

    @property
    def is_idle(self) -> bool:
        """Return False: a client asks once."""
        return False

    @property
    def wants_server(self) -> bool:
        """Return False: there is nothing to read of a server before the tunnel."""
        return False

    def from_client(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the client."""
        if self.stage in (Stage.ASSOCIATED, Stage.OVER):
            return []
        self.buffer += data
        return self._run()

    def client_ended(self, why: str = reasons.CLOSED) -> list[Event]:
        """Return the events for the client's end; a server that is being dialled is still."""
        waits = self.stage is Stage.SERVER and self._command == CONNECT
        return [] if waits else self._hung_up(why)

    def connected(self, bound: tuple[str, int]) -> list[Event]:
        """Return the events for a server that has answered, which sees the address *bound*.

        For Bind and Associate, *bound* is where there is a socket for the peer or the client.
        """
        reply = ToClient(self._granted(*bound))
        if self._command == CONNECT:
            return [reply, self._tunnel()]
        self.stage = Stage.PEER if self._command == BIND else Stage.ASSOCIATED
        return [reply]

    def accepted(self, peer: tuple[str, int]) -> list[Event]:
        """Return the events for the connection of *peer* that Bind listened for."""
        return [ToClient(self._granted(*peer)), self._tunnel()]

    def failed(self, why: str) -> list[Event]:
        """Return the events for a Dial, Bind or Associate that came to nothing as *why* says.

        *why* is of :mod:`faith.translation.reasons`; details may follow a colon.
        """
        return [ToClient(self._refusal(why)), *self._hung_up(why)]

    def overdue(self) -> list[Event]:
        """Return the events for a client that has not asked in time."""
        if self.stage not in READ:
            return []
        return [Refused(None, reasons.GREETING, self.method), *self._hung_up(reasons.GREETING)]

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, fit for JSON."""
        return {
            "stage": self.stage.name,
            "buffer": self.buffer.decode("latin-1"),
            "command": self._command,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made by the same rules, where the one stopped whose :meth:`state` it is."""
        self.stage = Stage[state["stage"]]
        self.buffer = bytearray(state["buffer"].encode("latin-1"))
        self._command = state["command"]

    # -- for the versions ------------------------------------------------------------------------

    def _run(self) -> list[Event]:
        events: list[Event] = []
        while self.stage in READ:
            found = self._read()
            if found is None:
                break
            events += found
        return events

    def _take(self, count: int) -> None:
        del self.buffer[:count]

    def _request(self, command: int, target: Target) -> list[Event] | None:
        """Return what is to be done for a request; None if it may not be."""
        self._command = command
        if command == CONNECT and target.port:
            asked: Event = Dial(target, self.method)
        elif command == BIND and self.rules.bind:
            asked = Bind(target, self.method)
        elif command == ASSOCIATE and self.rules.associate:
            asked = Associate(target)
        else:
            self._command = CONNECT
            return None
        self.stage = Stage.SERVER
        return [asked]

    def _refuse(self, reply: bytes, why: str, target: Target | None = None) -> list[Event]:
        return [ToClient(reply), Refused(target, why, self.method), *self._hung_up(why)]

    def _hung_up(self, why: str) -> list[Event]:
        if self.stage is Stage.OVER:
            return []
        self._close()
        return [HangUp(why)]

    def _tunnel(self) -> Tunnel:
        early = bytes(self.buffer)
        self._close()
        return Tunnel(early)

    def _close(self) -> None:
        self.stage = Stage.OVER
        self.buffer.clear()
