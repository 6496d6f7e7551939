"""A client of HTTP: CONNECT, and requests that are forwarded (RFC 9110, RFC 9112)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.proxy import own_answers
from faith.proxy.http_connection import HttpConnection, Stage
from faith.proxy.http_forwarding import HttpForwarding
from faith.proxy.http_requests import HttpRequests
from faith.proxy.proxy_events import Refused
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Event
    from faith.proxy.proxy_rules import ProxyRules


class HttpProxy:
    """One client of HTTP: :mod:`faith.proxy` tells how to drive it."""

    def __init__(self, rules: ProxyRules) -> None:
        self._connection = HttpConnection(rules)
        self._forwarding = HttpForwarding(self._connection)
        self._requests = HttpRequests(self._connection, self._forwarding)

    # -- settings --------------------------------------------------------------------------------

    @property
    def rules(self) -> ProxyRules:
        """Return the rules; others may take their place at any time, for the next request."""
        return self._connection.rules

    @rules.setter
    def rules(self, rules: ProxyRules) -> None:
        self._connection.rules = rules

    @property
    def date(self) -> bytes | None:
        """Return the date of what comes next, for answers that have none; None if unknown."""
        return self._connection.date

    @date.setter
    def date(self, date: bytes | None) -> None:
        self._connection.date = date

    # -- what it waits for -----------------------------------------------------------------------

    @property
    def wants_client(self) -> bool:
        """Return whether to read the client; data fed while it is false is kept, without bound."""
        stage = self._connection.stage
        if stage is Stage.EXCHANGE:
            return self._forwarding.wants_client
        return stage is Stage.HEAD

    @property
    def wants_server(self) -> bool:
        """Return whether to read the server, be it for its end alone."""
        server = self._connection.server
        if server.at is None:
            return False
        # While a user is checked, what nobody asked for waits: there would be no bound to it.
        return self._connection.stage is not Stage.USER or not server.octets

    @property
    def awaits_request(self) -> bool:
        """Return whether it is the client's turn to ask for something."""
        return self._connection.stage is Stage.HEAD

    @property
    def is_idle(self) -> bool:
        """Return whether nothing of another request has come since the last answer."""
        return self._connection.stage is Stage.HEAD and not self._connection.client

    @property
    def client_body(self) -> int:
        """Return how many octets of the client's may be moved to the server past the machine."""
        is_under_way = self._connection.stage is Stage.EXCHANGE
        return self._forwarding.client_body if is_under_way else 0

    @property
    def server_body(self) -> int:
        """Return how many octets of the server's may be moved to the client past the machine."""
        is_under_way = self._connection.stage is Stage.EXCHANGE
        return self._forwarding.server_body if is_under_way else 0

    # -- what comes ------------------------------------------------------------------------------

    def from_client(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the client."""
        if self._connection.stage is not Stage.OVER:
            self._connection.client += data
        return self._run()

    def from_server(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the server; without one it is dropped."""
        self._connection.server.feed(data)
        return self._run()

    def client_ended(self, why: str = reasons.CLOSED) -> list[Event]:
        """Return the events for the client's end, *why* if not by a FIN.

        After a FIN what it asked for is still answered.
        """
        if self._connection.stage is Stage.OVER:
            return []
        self._connection.client_over = True
        if why != reasons.CLOSED:
            self._connection.hang_up(why)
        return self._run()

    def server_ended(self, why: str = reasons.CLOSED) -> list[Event]:
        """Return the events for the server's end, *why* if not by a FIN."""
        self._connection.server.end(why)
        return self._run()

    def body_moved(self, side: str, count: int) -> list[Event]:
        """Return the events for *count* octets of that *side* moved past the machine.

        *side* is "client" or "server"; *count* is at most what its body said last.
        """
        self._forwarding.moved(side, count)
        return self._run()

    def user_checked(self, good: bool | None) -> list[Event]:
        """Return the events for the answer to CheckUser: None is a user that was not looked at."""
        self._requests.user_checked(good)
        return self._run()

    def connected(self, bound: tuple[str, int]) -> list[Event]:
        """Return the events for the server that was dialled and has answered."""
        (self._requests if self._requests.connects else self._forwarding).connected()
        return self._run()

    def failed(self, why: str) -> list[Event]:
        """Return the events for a Dial that came to nothing, or a server that was left, as *why*
        says.

        *why* is of :mod:`faith.translation.reasons`; details may follow a colon.
        """
        if self._connection.stage in (Stage.SERVER, Stage.EXCHANGE):
            (self._requests if self._requests.connects else self._forwarding).failed(why)
        return self._run()

    def overdue(self) -> list[Event]:
        """Return the events for a client that has not asked in time."""
        connection = self._connection
        if self.is_idle:
            connection.hang_up(reasons.CLOSED)
        elif connection.stage is Stage.HEAD:
            connection.emit(Refused(None, reasons.GREETING))
            answer, why = own_answers.OVERDUE, reasons.GREETING
            connection.say(answer, leaves=True, has_body=True, why=why)
        return self._run()

    def _run(self) -> list[Event]:
        connection = self._connection
        while True:
            stage = connection.stage
            if stage is Stage.HEAD:
                goes_on = self._requests.step()
            elif stage is Stage.EXCHANGE:
                goes_on = self._forwarding.step()
            else:
                break
            if not goes_on:
                break
        events, connection.events = connection.events, []
        return events

    # -- in another process ----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, fit for JSON; there is none between CheckUser and
        the answer."""
        assert self._connection.stage is not Stage.USER
        return {
            **self._connection.state(),
            "exchange": self._forwarding.state(),
            "connect": self._requests.state(),
            "user": self._requests.user,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made by the same rules, where the one stopped whose :meth:`state` it is.

        No password is in the state: the user is checked with every request.
        """
        self._connection.restore(state)
        self._forwarding.restore(state["exchange"])
        self._requests.restore(state["connect"])
        self._requests.user = state.get("user", "")
